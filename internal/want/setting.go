package want

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/seed59451c2b/osl/internal/fault"
	"github.com/seed59451c2b/osl/internal/plan"
	"github.com/seed59451c2b/osl/internal/sysctl"
	"github.com/seed59451c2b/osl/internal/where"
)

const ifaceDisableIPv6 = "ipv6/conf/%s/disable_ipv6"

// wantSettings turns names of sysctls into paths. For an interface they are
// below conf, with %s for its name.
func wantSettings(m map[string]string, link string) (list []plan.Setting, err error) {
	for _, name := range sorted(m) {
		path := sysctl.Slashed(name)
		family, rest, _ := strings.Cut(path, "/")
		if sysctl.Path(path) != nil || strings.Contains(path, "%") || rest == "" ||
			link != "" && family != "ipv4" && family != "ipv6" && family != "mpls" {
			return nil, where.In("sysctls", name,
				fault.Invalidf("%q is no sysctl of a sandbox: write ipv4.ip_forward, or for an interface ipv4.rp_filter", name))
		}
		if of, own, is := strings.Cut(strings.TrimPrefix(rest, "conf/"), "/"); is && link != "" && strings.HasPrefix(rest, "conf/") {
			text := fmt.Sprintf("write %s.%s, without the interface, which this is", family, own)
			if of == "all" || of == "default" {
				text = "say it in the sysctls of the sandbox"
			}
			return nil, where.In("sysctls", name, fault.Invalidf("%q is a setting of conf.%s: %s", name, of, text))
		}
		if link != "" {
			path = family + "/conf/%s/" + rest
		}
		if path == "ipv4/conf/all/forwarding" {
			path = "ipv4/ip_forward" // another name of it
		}
		if list, err = addSetting(list, plan.Setting{Path: path, Value: sysctl.Clean(m[name]), Name: name}); err != nil {
			return nil, err
		}
	}
	return list, nil
}

// addSetting refuses a setting that is there with another value, under whichever
// name.
func addSetting(list []plan.Setting, x plan.Setting) ([]plan.Setting, error) {
	i := slices.IndexFunc(list, func(o plan.Setting) bool { return o.Path == x.Path })
	switch {
	case i < 0:
		return append(list, x), nil
	case sysctl.Same(x.Value, list[i].Value):
		return list, nil
	}
	return nil, where.In("sysctls", x.Name, fault.Invalidf("%q is to be %s, and as %q %s: they are the same setting", x.Name, x.Value, list[i].Name, list[i].Value))
}

// vipSettings refuses a setting that an interface has otherwise by
// disable_arp_for_vip.
func vipSettings(f *plan.Iface) error {
	for _, is := range plan.VIPSettings {
		if x := setTo(f.Sysctls, is.Path); f.HideVIPs && x != nil && !sysctl.Same(x.Value, is.Value) {
			return where.In("sysctls", x.Name, fault.Invalidf("%q is to be %s, and disable_arp_for_vip makes it %s", x.Name, x.Value, is.Value))
		}
	}
	return nil
}

// settleSettings gives each interface the settings that name it, and makes of
// those which turn IPv6 on or off what the interfaces are to be: of its own, that
// of all new ones, or that of all.
func settleSettings(w *plan.Sandbox) (err error) {
	all := setTo(w.Sysctls, "ipv6/conf/all/disable_ipv6")
	fallback := setTo(w.Sysctls, "ipv6/conf/default/disable_ipv6")
	if all != nil && fallback == nil { // the kernel does so
		fallback = all
		w.Sysctls = append(w.Sysctls, plan.Setting{Path: "ipv6/conf/default/disable_ipv6", Value: all.Value, Name: all.Name})
	}
	var rest []plan.Setting
	for _, x := range w.Sysctls {
		parts := strings.SplitN(x.Path, "/", 4)
		var f *plan.Iface
		if len(parts) == 4 && parts[1] == "conf" {
			f = w.Iface(parts[2])
		}
		if f == nil {
			rest = append(rest, x)
			continue
		}
		parts[2] = "%s"
		x.Path = strings.Join(parts, "/")
		if f.Sysctls, err = addSetting(f.Sysctls, x); err == nil {
			err = vipSettings(f)
		}
		if err != nil {
			return err
		}
	}
	w.Sysctls = rest
	for i := range w.Ifaces {
		f := &w.Ifaces[i]
		x := setTo(f.Sysctls, ifaceDisableIPv6)
		if x == nil && f.Name != "lo" {
			x = fallback
		}
		if x == nil {
			x = all
		}
		if f.IPv6, err = ipv6Wish(f, x, all); err != nil {
			return fault.At("", f.Name, err)
		}
		f.Sysctls = slices.DeleteFunc(f.Sysctls, func(x plan.Setting) bool { return x.Path == ifaceDisableIPv6 })
	}
	lo := setTo(w.Sysctls, "ipv6/conf/lo/disable_ipv6")
	w.Sysctls = slices.DeleteFunc(w.Sysctls, func(x plan.Setting) bool { return x.Path == "ipv6/conf/lo/disable_ipv6" })
	if lo == nil {
		lo = all
	}
	w.LoIPv6, err = ipv6Wish(&plan.Iface{Name: "lo"}, lo, all)
	return err
}

func setTo(list []plan.Setting, path string) *plan.Setting {
	if i := slices.IndexFunc(list, func(x plan.Setting) bool { return x.Path == path }); i >= 0 {
		x := list[i]
		return &x
	}
	return nil
}

// ipv6Wish returns whether a setting asks for an interface's IPv6, nil where
// there is none.
func ipv6Wish(f *plan.Iface, x, all *plan.Setting) (*bool, error) {
	if x == nil {
		return nil, nil
	}
	on := sysctl.Same("0", x.Value)
	if !on && !sysctl.Same("1", x.Value) {
		return nil, where.In("sysctls", x.Name, fault.Invalidf("%s is 0 or 1, not %q", x.Name, x.Value))
	}
	if !on && slices.ContainsFunc(f.Addrs, func(a plan.Addr) bool { return a.Prefix.Addr().Is6() }) {
		return nil, where.In("sysctls", x.Name, fault.Invalidf("%s turns off the IPv6 of %q, which is to have an IPv6 address", x.Name, f.Name))
	}
	if on && all != nil && !sysctl.Same("0", all.Value) {
		return nil, where.In("sysctls", x.Name, fault.Invalidf("%s asks for the IPv6 of %q, and %s turns off all", x.Name, f.Name, all.Name))
	}
	return &on, nil
}

func sorted(m map[string]string) []string { return slices.Sorted(maps.Keys(m)) }
