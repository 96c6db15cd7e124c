//go:build linux

package osltest

import (
	"slices"
	"testing"

	"github.com/seed59451c2b/osl"
)

func TestAliasIP(t *testing.T) {
	w := begin(t)
	sb := w.sandbox()
	src, dst, _ := w.eth(sb, "10.31.0.2/24", "fd31::2/64")
	key := sb.Key()
	for _, x := range []struct{ link, addr string }{
		{dst, "10.255.31.1/32"}, {dst, "fd31:ff::1/128"},
		{"lo", "10.255.31.2/32"}, {"lo", "fd31:ff::2/128"},
		{dst, "10.31.0.77/24"},
	} {
		before, info := addrsOf(t, key, x.link), infoText(sb.Info())
		for range 2 {
			if err := sb.AddAliasIP(x.link, ipnet(x.addr)); err != nil {
				t.Errorf("AddAliasIP(%s, %s): %v", x.link, x.addr, err)
			}
		}
		if got := addrsOf(t, key, x.link); !slices.Contains(got, x.addr) {
			t.Errorf("%s is not on %s: %v", x.addr, x.link, got)
		}
		i := iface(t, sb, src)
		if i.Address().String() != "10.31.0.2/24" || i.AddressIPv6().String() != "fd31::2/64" {
			t.Errorf("an alias became an address: %v, %v", i.Address(), i.AddressIPv6())
		}
		for range 2 {
			if err := sb.RemoveAliasIP(x.link, ipnet(x.addr)); err != nil {
				t.Errorf("RemoveAliasIP(%s, %s): %v", x.link, x.addr, err)
			}
		}
		if got := addrsOf(t, key, x.link); !slices.Equal(got, before) {
			t.Errorf("after RemoveAliasIP(%s, %s): %v, before %v", x.link, x.addr, got, before)
		}
		if got := infoText(sb.Info()); got != info {
			t.Errorf("Info was\n%s\nand is\n%s", info, got)
		}
	}
	refused(t, "an interface that is not there", sb.AddAliasIP("eth7", ipnet("10.255.31.1/32")), osl.ErrNotFound, "eth7", key)
}

// An interface that has an alias only, has no address of its own.
func TestAliasIsNoAddress(t *testing.T) {
	w := begin(t)
	sb := w.sandbox()
	src, dst, _ := w.eth(sb)
	must(t, sb.AddAliasIP(dst, ipnet("10.32.0.1/32")))
	if a := iface(t, sb, src).Address(); a != nil {
		t.Errorf("Address is %v", a)
	}
	if got := addrsOf(t, sb.Key(), dst); !slices.Contains(got, "10.32.0.1/32") {
		t.Errorf("addresses: %v", got)
	}
}

func TestDisableARPForVIP(t *testing.T) {
	w := begin(t)
	sb := w.sandbox()
	_, dst, _ := w.eth(sb, "10.33.0.2/24")
	hostAll := [2]string{sysctl(t, "", "ipv4/conf/all/arp_ignore"), sysctl(t, "", "ipv4/conf/default/arp_announce")}
	for range 2 {
		must(t, sb.DisableARPForVIP(dst))
		ignore, announce := sysctl(t, sb.Key(), "ipv4/conf/"+dst+"/arp_ignore"), sysctl(t, sb.Key(), "ipv4/conf/"+dst+"/arp_announce")
		if ignore != "1" || announce != "2" {
			t.Errorf("arp_ignore=%s arp_announce=%s, want 1 and 2", ignore, announce)
		}
	}
	if got := [2]string{sysctl(t, "", "ipv4/conf/all/arp_ignore"), sysctl(t, "", "ipv4/conf/default/arp_announce")}; got != hostAll {
		t.Errorf("the host's settings are %v, were %v", got, hostAll)
	}
	refused(t, "an interface that is not there", sb.DisableARPForVIP("eth7"), osl.ErrNotFound, "eth7", sb.Key())
}
