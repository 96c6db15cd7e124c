package plan

import (
	"slices"
	"strings"

	"github.com/seed59451c2b/osl/internal/rtnl"
)

// Set are settings of a sandbox by their paths, and those of its links by the link's
// name and the rest of the path, such as ipv4/rp_filter.
type Set struct {
	Sandbox map[string]string
	Links   map[string]map[string]string
}

// Settings returns which of a sandbox's settings are others than in a new sandbox, and
// which of its links' are others than the sandbox's default, or than a new lo's; but not those that follow
// from something else that is said of it.
func Settings(own, fresh map[string]string, links []rtnl.Link) Set {
	s := Set{map[string]string{}, map[string]map[string]string{}}
	asked, wireguards := map[string][]string{}, map[string]bool{}
	for i := range links {
		t, _ := ParseTag(links[i].Alias)
		asked[links[i].Name] = t.Marks
		if links[i].Kind == "wireguard" {
			wireguards[links[i].Name] = true
		}
	}
	for path, value := range own {
		family, name, setting, ofLink := confOf(path)
		switch {
		case ofLink && (name == "default" || name == "all") && slices.Contains(impliedOfAll, setting) && path != noIPv6:
		case ofLink && name != "default" && name != "all":
			usual, known := own[family+"/conf/default/"+setting]
			if name == "lo" {
				usual, known = fresh[path]
			}
			if wireguards[name] && family+"/"+setting == "ipv4/send_redirects" {
				continue // the kernel's doing
			}
			marks, named := asked[name]
			if !named || !known || isImplied(family+"/"+setting, value, usual, marks) {
				continue
			}
			if s.Links[name] == nil {
				s.Links[name] = map[string]string{}
			}
			s.Links[name][family+"/"+setting] = value
		case path == "ipv4/conf/all/accept_redirects" && value == "0" && own["ipv4/ip_forward"] == "1": // by that
		case path == SendRedirects && value == "0" && len(wireguards) > 0: // by these
		case IsSecret(path), slices.Contains(impliedOfSandbox, path):
		default:
			if usual, known := fresh[path]; known && usual != value {
				s.Sandbox[path] = value
			}
		}
	}
	return s
}

// AskedSettings returns the paths of those of a link's settings that were asked for, and that
// nothing else says, out of all that links have: with %s for a link.
func AskedSettings(l *rtnl.Link, all []string) (list []string) {
	if !strings.Contains(l.Alias, marksField) {
		return nil
	}
	t, _ := ParseTag(l.Alias)
	for _, path := range all {
		family, _, setting, _ := confOf(path)
		if WasAsked(t.Marks, path) && !IsSecret(path) && !slices.Contains(impliedOfLink, family+"/"+setting) {
			list = append(list, path)
		}
	}
	return list
}

// confOf takes the path of a setting of links apart: ipv4/conf/eth0/rp_filter.
func confOf(path string) (family, name, setting string, ok bool) {
	family, rest, ok := strings.Cut(path, "/conf/")
	if !ok {
		return "", "", "", false
	}
	i := strings.LastIndexByte(rest, '/')
	if i < 0 {
		return "", "", "", false
	}
	return family, rest[:i], rest[i+1:], true
}

// noIPv6 turns IPv6 off on all links at once, which a new sandbox does not.
const noIPv6 = "ipv6/conf/all/disable_ipv6"

// impliedOfAll are settings of all links that osl gives a new sandbox.
var impliedOfAll = []string{"disable_ipv6", "accept_dad", "ndisc_notify"}

// impliedOfSandbox are those of a sandbox that go with another one.
var impliedOfSandbox = []string{
	"ipv4/conf/all/forwarding", "ipv4/conf/default/forwarding", // ipv4/ip_forward
	"ipv6/conf/default/forwarding", // ipv6/conf/all/forwarding
	"ipv4/tcp_available_congestion_control",
}

// IsSecret reports whether a setting, of a sandbox or a link, is a secret: what tells what
// stands, Inspect and Spec, leaves it out. A change tells it, for the commands that osl diff
// prints are to do the same: there it is from the caller's own Spec, and Change.Before has the
// one that it replaces.
func IsSecret(path string) bool {
	return path == "ipv4/tcp_fastopen_key" || strings.HasSuffix(path, "/stable_secret")
}

// impliedOfLink are those of a link that something else of it says, and unlessAsked those that
// osl or the kernel sets where nobody asks for them.
var (
	impliedOfLink = []string{"ipv6/disable_ipv6", "ipv6/addr_gen_mode"}
	unlessAsked   = []string{"ipv4/arp_ignore", "ipv4/arp_announce", "ipv4/arp_notify", "ipv4/promote_secondaries", "ipv6/ndisc_notify", "ipv6/mtu"}
)

// isImplied reports whether a setting of a link, by the rest of its path, is not said: one as
// the usual, but of those in unlessAsked one that was not asked for, by its marks, whatever
// its value.
func isImplied(setting, value, usual string, marks []string) bool {
	switch {
	case slices.Contains(unlessAsked, setting):
		family, name, _ := strings.Cut(setting, "/")
		return !slices.Contains(marks, nameMark(family+"/conf/%s/"+name))
	case setting == "ipv6/accept_dad": // which has no mark: osl makes it 0, and the kernel of some types -1
		return usual == value || value == "0" || value == "-1"
	}
	return usual == value || slices.Contains(impliedOfLink, setting) || IsSecret(setting)
}
