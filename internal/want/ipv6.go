package want

import (
	"slices"
	"strings"

	"github.com/seed59451c2b/osl/internal/fault"
	"github.com/seed59451c2b/osl/internal/near"
	"github.com/seed59451c2b/osl/internal/plan"
	"github.com/seed59451c2b/osl/internal/where"
)

// IPv6Modes are what the IPv6 of an interface can be.
var IPv6Modes = []string{"auto", "link-local", "off"}

const ifaceAcceptRA = "ipv6/conf/%s/accept_ra"

// addIPv6 adds the settings that a mode stands for. One for routers that the caller
// gives counts more.
func (s *Iface) addIPv6(f *plan.Iface) (err error) {
	if s.IPv6 == "" {
		return nil
	}
	if !slices.Contains(IPv6Modes, s.IPv6) {
		return where.In("ipv6", "", fault.Invalidf("there is no mode %q of IPv6: it is one of %s%s", s.IPv6, strings.Join(IPv6Modes, ", "), near.Hint(s.IPv6, IPv6Modes)))
	}
	if s.Name == "lo" && s.IPv6 != "off" {
		return where.In("ipv6", "", fault.Invalidf("lo has no link-local address, and hears no router"))
	}
	name, off := "ipv6: "+s.IPv6, map[bool]string{true: "1", false: "0"}[s.IPv6 == "off"]
	if f.Sysctls, err = addSetting(f.Sysctls, plan.Setting{Path: ifaceDisableIPv6, Value: off, Name: name}); err != nil {
		return err
	}
	accept := map[string]string{"link-local": "0", "auto": "2"}[s.IPv6]
	if accept != "" && setTo(f.Sysctls, ifaceAcceptRA) == nil {
		f.Sysctls = append(f.Sysctls, plan.Setting{Path: ifaceAcceptRA, Value: accept, Name: name})
	}
	return nil
}
