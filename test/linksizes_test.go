//go:build linux

package osltest

import (
	"context"
	"errors"
	"path/filepath"
	"testing"

	"github.com/vishvananda/netlink"
	"pgregory.net/rapid"

	"github.com/seed59451c2b/osl"
)

// The sizes of what is handed over in one piece, for all packets and for those of IPv4, are as
// on a new link of which the same is said, whatever was said before; the kernel changes the one
// with the other. What comes from the host has its own again at home. Where the kernel has none
// for IPv4 that is said.
func TestFeatureIPv4Sizes(t *testing.T) {
	w := begin(t)
	own, _ := w.veth()
	sizes := func(t *testing.T, key, dev string) [4]uint32 {
		a := needLink(t, key, dev).Attrs()
		return [4]uint32{a.GSOMaxSize, a.GSOIPv4MaxSize, a.GROMaxSize, a.GROIPv4MaxSize}
	}
	lab := func(key string, said [4]int, host bool) osl.Network {
		set := func(f osl.InterfaceSpec) osl.InterfaceSpec {
			f.GSOMaxSize, f.GSOIPv4MaxSize, f.GROMaxSize, f.GROIPv4MaxSize = said[0], said[1], said[2], said[3]
			return f
		}
		list := []osl.InterfaceSpec{set(osl.InterfaceSpec{Name: "a", Peer: osl.Endpoint{Sandbox: key, Interface: "b"}}), {Name: "b"}}
		if host {
			list = append(list, set(osl.InterfaceSpec{Name: "h", Source: own}))
		}
		return osl.Network{Name: filepath.Base(key), Sandboxes: []osl.Spec{{Name: key, Interfaces: list}}}
	}
	key := newKey()
	down := func(key string) {
		_, err := osl.Down(context.Background(), lab(key, [4]int{}, false))
		must(t, err)
	}
	_, err := osl.Apply(t.Context(), lab(key, [4]int{0, 20000, 0, 0}, false))
	if errors.Is(err, osl.ErrUnsupported) {
		refused(t, "a size for IPv4", err, osl.ErrUnsupported, `"gso_ipv4_max_size"`)
		settled(t, lab(key, [4]int{20000, 0, 20000, 0}, false))
		_, err := osl.Apply(t.Context(), lab(key, [4]int{20000, 0, 20000, 20000}, false))
		refused(t, "a size for IPv4 of a link that is there", err, osl.ErrUnsupported, `"gro_ipv4_max_size"`)
		down(key)
		t.Skip("the kernel has no sizes for IPv4")
	}
	must(t, err)
	down(key)
	anyInput(t, 10, func(r *rapid.T) {
		at := needLink(t, "", own)
		for _, set := range []func(netlink.Link, int) error{netlink.LinkSetGSOMaxSize, netlink.LinkSetGSOIPv4MaxSize, netlink.LinkSetGROMaxSize, netlink.LinkSetGROIPv4MaxSize} {
			must(t, set(at, rapid.SampledFrom([]int{20000, 65536}).Draw(r, "at home")))
		}
		before := sizes(t, "", own)
		defer func() {
			down(key)
			if now := sizes(t, "", own); now != before {
				r.Errorf("at home it has %v, and had %v", now, before)
			}
		}()
		for range 4 {
			var said [4]int
			for i, at := range [4]int{0, 0, 100000, 100000} { // to send, no more than the driver takes
				said[i] = rapid.SampledFrom([]int{0, 16384, 30000, 65536, max(at, 40000)}).Draw(r, "size")
			}
			host := rapid.Bool().Draw(r, "a link of the host")
			if _, err := osl.Apply(t.Context(), lab(key, said, host)); err != nil {
				r.Fatal(err)
			}
			if left, err := osl.Diff(t.Context(), lab(key, said, host)); err != nil || len(left) > 0 {
				r.Fatalf("diff: %v\n%v", err, left)
			}
			asRead(r, lab(key, said, host))
			fresh := newKey()
			_, err := osl.Apply(t.Context(), lab(fresh, said, false))
			must(t, err)
			want := sizes(t, fresh, "a")
			down(fresh)
			if got := sizes(t, key, "a"); got != want {
				r.Fatalf("of %v it has %v, and a new one %v", said, got, want)
			}
			if host {
				for i, got := range sizes(t, key, "h") {
					if said[i] != 0 && int(got) != said[i] {
						r.Fatalf("of %v that of the host has %v", said, sizes(t, key, "h"))
					}
				}
			}
		}
	})
}
