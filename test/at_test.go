//go:build linux

package osltest

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/seed59451c2b/osl"
)

// Two base paths in one process, with the same names and the same network, at once:
// each has its own.
func TestTwoBasePaths(t *testing.T) {
	ctx := t.Context()
	network := func(n int) osl.Network {
		net := osl.Network{Name: "lab", Sandboxes: []osl.Spec{{Name: "web", Interfaces: []osl.InterfaceSpec{{Name: "eth0", Type: "veth",
			Peer: osl.Endpoint{Sandbox: "db", Interface: "eth0"}}}}, {Name: "db", Interfaces: []osl.InterfaceSpec{{Name: "eth0"}}}}}
		for i := range n {
			net.Sandboxes = append(net.Sandboxes, osl.Spec{Name: string(rune('a' + i))})
		}
		return net
	}
	var wg sync.WaitGroup
	for range 2 {
		b := osl.At(filepath.Join(t.TempDir(), "base"))
		wg.Go(func() {
			for range 10 {
				if _, err := b.Apply(ctx, network(2)); err != nil {
					t.Error(err)
				}
				if c, err := b.Apply(ctx, network(1)); err != nil || len(c) != 1 || c[0].Kind != osl.ChangeRemove {
					t.Errorf("one less: %v, %v", c, err)
				}
				if c, err := b.Diff(ctx, network(1)); err != nil || len(c) > 0 {
					t.Errorf("again: %v, %v", c, err)
				}
				list, err := b.List(ctx)
				var names []string
				for _, e := range list {
					names = append(names, e.Name)
				}
				if err != nil || !slices.Equal(names, []string{"a", "db", "web"}) {
					t.Errorf("%v, %v", names, err)
				}
				web, err := b.Open(ctx, "web")
				if err != nil {
					t.Error(err)
					return
				}
				if st, err := web.Inspect(ctx); err != nil || st.Name != "web" || web.Name() != "web" || filepath.Dir(filepath.Dir(web.Key())) != b.Path() {
					t.Errorf("%v, %v, %v", web.Name(), st, err)
				}
				// A name that the handle is told is of its base path too.
				err = web.AddLink(ctx, osl.InterfaceSpec{Name: "eth1", Type: "veth", Peer: osl.Endpoint{Sandbox: "a", Interface: "eth0"}})
				if err != nil {
					t.Error(err)
				}
				// What stands has the links between them.
				if stands, err := b.Export(ctx, "web", "db", "a"); err != nil || len(stands.Links) != 2 {
					t.Errorf("%+v, %v", stands, err)
				} else if c, err := b.Diff(ctx, stands); err != nil || len(c) > 0 {
					t.Errorf("what was read: %v, %v", c, err)
				}
				_ = web.Close()
				if _, err := b.Create(ctx, "web"); !errors.Is(err, osl.ErrExists) {
					t.Error(err)
				}
				if _, err := osl.Open(ctx, "web"); !errors.Is(err, osl.ErrNotFound) {
					t.Errorf("in the process's base path: %v", err)
				}
				if _, err := b.Down(ctx, osl.Network{Name: "lab"}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if osl.At("").Path() != osl.BasePath() {
		t.Error("the empty base path is another")
	}
}

func TestCreateWithLabels(t *testing.T) {
	b := osl.At(filepath.Join(t.TempDir(), "base"))
	n, err := b.Create(t.Context(), "web", osl.WithLabels(map[string]string{"team": "a b;c"}))
	if err != nil {
		t.Fatal(err)
	}
	defer n.Destroy()
	list, err := b.List(t.Context())
	if err != nil || len(list) != 1 || list[0].Labels["team"] != "a b;c" || !list[0].Made {
		t.Errorf("%v, %v", list, err)
	}
	if _, err := b.Create(t.Context(), "db", osl.WithLabels(map[string]string{"much": strings.Repeat("x", 300)})); !errors.Is(err, osl.ErrInvalid) {
		t.Error(err)
	}
}

// Networks of one name in two base paths have each their own on the host as well: bridges,
// ends, addresses, routes and forwarding.
func TestTwoBasePathsOnHost(t *testing.T) {
	begin(t)
	ctx := t.Context()
	lab := func(prefix, subnet string) osl.Network {
		net := hostNet(prefix, subnet, func(h *osl.Spec) { h.Sysctls = map[string]string{"ipv4.ip_forward": "1"} })
		net.Name = "lab"
		return net
	}
	bases := []osl.Base{osl.At(filepath.Join(t.TempDir(), "base")), osl.At(filepath.Join(t.TempDir(), strings.Repeat("long", 20))), osl.At("")}
	labs := []osl.Network{lab("ha", "10.130"), lab("hb", "10.131"), lab("hc", "10.132")}
	for i, b := range bases {
		defer func() { _, err := b.Down(ctx, labs[i]); must(t, err) }()
		_, err := b.Apply(ctx, labs[i])
		must(t, err)
	}
	var links []osl.Base // the same, by symbolic links
	for _, b := range bases {
		link := filepath.Join(t.TempDir(), "link")
		must(t, os.Symlink(b.Path(), link))
		links = append(links, osl.At(link))
	}
	stand := func(i int) {
		t.Helper()
		for _, b := range []osl.Base{bases[i], links[i]} {
			if c, err := b.Diff(ctx, labs[i]); err != nil || len(c) > 0 {
				t.Errorf("of the network in %s is missing: %v, %v", b.Path(), c, err)
			}
		}
	}
	for i := range bases {
		stand(i)
	}
	taken := labs[1]
	taken.Sandboxes = []osl.Spec{{Name: osl.HostName, Interfaces: labs[0].Sandboxes[0].Interfaces[:1]}, {Name: "other"}}
	taken.Links = nil
	if _, err := bases[1].Apply(ctx, taken); !errors.Is(err, osl.ErrNameInUse) || !strings.Contains(err.Error(), bases[0].Path()) {
		t.Errorf("the name of a bridge of the other's: %v", err)
	}
	if net, err := bases[0].Export(ctx, "ha"); err != nil || len(net.Sandboxes) != 2 || len(net.Sandboxes[0].Interfaces) != 3 {
		t.Errorf("its network is %v, %v", net, err)
	}
	for i := range bases {
		for by, net := range []osl.Network{{Name: "lab"}, labs[i]} { // by its name, and by its file
			_, err := []osl.Base{links[i], bases[i]}[by].Down(ctx, net)
			must(t, err)
			if linkOf(t, "", labs[i].Sandboxes[0].Interfaces[0].Name) != nil {
				t.Errorf("the bridge of the network in %s is left", bases[i].Path())
			}
			for j := range bases {
				if j != i {
					stand(j)
				}
			}
			_, err = bases[i].Apply(ctx, labs[i])
			must(t, err)
		}
	}
}

// What an earlier version made on the host from another base path has the network's name
// alone, and goes on to have it until it is taken down; but not what is of a network of the
// machine's.
func TestNetworkOfEarlierVersionOnHost(t *testing.T) {
	begin(t)
	ctx := t.Context()
	lab := hostNet("ha", "10.130", func(h *osl.Spec) { h.Sysctls = map[string]string{"ipv4.ip_forward": "1"} })
	lab.Name = "lab"
	before := snapshot(t, "")
	machine, b := osl.At(""), osl.At(t.TempDir())
	defer func() { _, err := machine.Down(ctx, lab); must(t, err) }()
	move := func(from, to osl.Base) {
		key := func(b osl.Base) string { return filepath.Join(b.Path(), "netns", "ha") }
		must(t, os.MkdirAll(filepath.Dir(key(to)), 0o755))
		must(t, os.WriteFile(key(to), nil, 0o600))
		must(t, unix.Mount(key(from), key(to), "", unix.MS_BIND, ""))
		must(t, unix.Unmount(key(from), unix.MNT_DETACH))
		must(t, os.Remove(key(from)))
	}
	for _, change := range []bool{true, false} {
		_, err := machine.Apply(ctx, lab)
		must(t, err)
		move(machine, b)
		if c, err := b.Diff(ctx, lab); err != nil || len(c) > 0 {
			t.Fatalf("it lacks %v, %v", c, err)
		}
		if net, err := b.Export(ctx, "ha"); err != nil || len(net.Sandboxes) != 2 || len(net.Sandboxes[0].Interfaces) != 3 {
			t.Errorf("it is %v, %v", net, err)
		}
		if change {
			_, err = b.Apply(ctx, osl.Network{Name: "lab", Sandboxes: []osl.Spec{{Name: "ha"}}})
			must(t, err)
			same(t, "the host after the file has dropped it", before, func() []string { return snapshot(t, "") })
		}
		_, err = b.Down(ctx, osl.Network{Name: "lab"})
		must(t, err)
		same(t, "the host", before, func() []string { return snapshot(t, "") })
	}
	_, err := machine.Apply(ctx, lab)
	must(t, err)
	_, err = machine.Apply(ctx, osl.Network{Name: "lab", Sandboxes: append([]osl.Spec{{Name: "hb"}}, lab.Sandboxes...), Links: lab.Links})
	must(t, err)
	move(machine, b)
	if net, err := b.Export(ctx, "ha"); err != nil || len(net.Sandboxes[0].Interfaces) > 0 {
		t.Errorf("it is %v, %v", net, err)
	}
	_, err = b.Down(ctx, osl.Network{Name: "lab"})
	must(t, err)
	if linkOf(t, "", "ha-br") == nil {
		t.Error("down of the one took a bridge of the other")
	}
}

// A network of another base path has room on the host for its name, whatever that and the path
// are, and for a note of 100 bytes; what has none is refused before anything is done.
func TestRoomForNameOnHost(t *testing.T) {
	begin(t)
	ctx := t.Context()
	uplink := parentsOnHost(t)[0]
	for _, path := range []string{"b", strings.Repeat("base", 8), strings.Repeat("base", 14), strings.Repeat("long", 40)} {
		b := osl.At(filepath.Join(t.TempDir(), path))
		for _, name := range []string{"l", strings.Repeat("l", 63), strings.Repeat("_", 63), strings.Repeat("é", 31)} {
			for _, note := range []int{0, 40, 100, 160} {
				lab := hostNet("ha", "10.130", func(h *osl.Spec) {
					h.Interfaces[0].Note = strings.Repeat("n", note)
					h.Masquerade = []osl.MasqueradeSpec{{Subnet: nets("10.130.0.0/24")[0], Uplink: uplink}}
				})
				lab.Name = name
				_, refused := b.Diff(ctx, lab)
				if refused != nil && (!errors.Is(refused, osl.ErrInvalid) || note <= 100 && name[0] < 0x80) {
					t.Errorf("%.9s in %.20s, with a note of %d bytes: %v", name, path, note, refused)
				}
				_, err := b.Apply(ctx, lab)
				if (err == nil) != (refused == nil) || errors.Is(err, osl.ErrIncomplete) {
					t.Errorf("%.9s in %.20s, with a note of %d bytes: up %v, diff %v", name, path, note, err, refused)
				}
				_, err = b.Down(ctx, lab)
				must(t, err)
			}
		}
	}
}
