package netfile

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/seed59451c2b/osl"
	"github.com/seed59451c2b/osl/internal/plan"
	"github.com/seed59451c2b/osl/internal/want"
	"github.com/seed59451c2b/osl/internal/where"
)

// located is an error with its place in a file.
type located struct {
	error
	cause error
}

func (l located) Unwrap() error { return l.cause }

// Located says that the text begins with the place.
func (l located) Located() bool { return true }

// About returns an error of osl with the line of the file that it is about. What
// is no error of osl, or about nothing that is in the file, is returned as it is.
func (f *File) About(err error) error {
	field, entry := where.Of(err)
	var e *osl.Error
	if !errors.As(err, &e) {
		return err
	}
	path, who := f.place(e, field, entry)
	if path == "" {
		return err
	}
	path += where.Below(err)
	cause := strings.TrimPrefix(e.Err.Error(), osl.ErrInvalid.Error()+": ")
	text := who + e.Because(cause)
	if key, iface, field, entry, ok := where.First(err); ok {
		if field != "" {
			key = e.Key
		}
		if first, _ := f.place(&osl.Error{Key: key, Interface: iface}, field, entry); first != "" && first != path {
			text += "; see " + f.placeOf(f.inFile(first))
		}
	}
	return located{f.Problem(path, "%s", text), err}
}

// place finds what an error is about: its path in the file, and the words that
// name the sandbox and the interface.
func (f *File) place(e *osl.Error, field, entry string) (path, who string) {
	if i, err := strconv.Atoi(entry); err == nil && (field == "links" && i < len(f.Links) || field == "segments" && i < len(f.Segments)) {
		return fmt.Sprintf("%s[%d]", field, i), ""
	}
	i := slices.IndexFunc(f.Sandboxes, func(s osl.Spec) bool {
		key, err := osl.KeyPath(s.Name)
		return s.Name == e.Key || err == nil && key == e.Key || s.Name == osl.HostName && e.Key == "" && e.Interface != ""
	})
	if i < 0 {
		return f.ofSegments(e.Key)
	}
	s := &f.Sandboxes[i]
	path, who = fmt.Sprintf("sandboxes[%d]", i), fmt.Sprintf("sandbox %q: ", s.Name)
	if sub := f.entryOf(path, field, entry, e.Interface, s); sub != "" {
		if e.Interface != "" {
			who = fmt.Sprintf("sandbox %q, interface %q: ", s.Name, e.Interface)
		}
		return sub, who
	}
	if e.Interface == "" {
		return strings.TrimSuffix(path+"."+field, "."), who
	}
	who = fmt.Sprintf("sandbox %q, interface %q: ", s.Name, e.Interface)
	j := slices.IndexFunc(s.Interfaces, func(x osl.InterfaceSpec) bool { return x.Name == e.Interface })
	if j < 0 {
		return cmp.Or(f.linkOf(osl.Endpoint{Sandbox: s.Name, Interface: e.Interface}), path), who
	}
	at := fmt.Sprintf("%s.interfaces[%d]", path, j)
	return cmp.Or(f.entryOfInterface(at, field, entry, &s.Interfaces[j]), at), who
}

// ofSegments finds the first interface on a segment, for an error about the sandbox
// that osl makes for segments.
func (f *File) ofSegments(key string) (path, who string) {
	name := want.SegmentsOf(f.Name)
	if own, err := osl.KeyPath(name); err != nil || own != key {
		return "", ""
	}
	for i := range f.Sandboxes {
		for j := range f.Sandboxes[i].Interfaces {
			if f.Sandboxes[i].Interfaces[j].Segment != "" {
				return fmt.Sprintf("sandboxes[%d].interfaces[%d].segment", i, j), fmt.Sprintf("sandbox %q: ", name)
			}
		}
	}
	return "", ""
}

// linkOf finds the link that an interface is an end of.
func (f *File) linkOf(end osl.Endpoint) string {
	if i := slices.IndexFunc(f.Links, func(l osl.Link) bool { return l[0] == end || l[1] == end }); i >= 0 {
		return fmt.Sprintf("links[%d]", i)
	}
	return ""
}

// entryOf finds a part of a sandbox that is no interface's, empty if there is
// none. dev is the interface that the error is about, if it is about one.
func (f *File) entryOf(path, field, entry, dev string, s *osl.Spec) string {
	i := -1
	n, err := strconv.Atoi(entry)
	switch field {
	case "routes":
		i = slices.IndexFunc(s.Routes, func(r osl.RouteSpec) bool {
			return plan.RouteEntry(r.To.Masked(), r.Table, r.Metric) == entry || r.To.String() == entry
		})
		if i < 0 && entry == "0.0.0.0/0" && s.Gateway.IsValid() {
			return path + ".gateway"
		}
		if i < 0 && entry == "::/0" && s.Gateway6.IsValid() {
			return path + ".gateway6"
		}
	case "rules":
		for j, r := range s.Rules { // of two with one priority the second is too many
			if strconv.FormatUint(uint64(r.Priority), 10) == entry {
				i = j
			}
		}
	case "nexthops":
		for j, n := range s.Nexthops { // of two with one id the second is too many
			if strconv.FormatUint(uint64(n.ID), 10) == entry {
				i = j
			}
		}
	case "neighbors":
		i = slices.IndexFunc(s.Neighbors, func(n osl.NeighborSpec) bool {
			return (dev == "" || n.Dev == dev) && (n.IP.Unmap().String() == entry || !n.IP.IsValid() && n.MAC.String() == entry)
		})
	case "masquerade":
		i = slices.IndexFunc(s.Masquerade, func(m osl.MasqueradeSpec) bool { return plan.Masq(m).Entry() == entry })
	case "sysctls":
		if _, ok := s.Sysctls[entry]; ok {
			return path + ".sysctls." + entry
		}
	}
	if i < 0 && err == nil && slices.Contains([]string{"interfaces", "routes", "neighbors", "masquerade"}, field) {
		i = n
	}
	if i < 0 {
		return ""
	}
	return fmt.Sprintf("%s.%s[%d]", path, field, i)
}

func (f *File) entryOfInterface(at, field, entry string, x *osl.InterfaceSpec) string {
	list := map[string][]netip.Prefix{"addresses": x.Addresses, "routes": x.Routes, "aliases": x.Aliases}
	if field == "addresses" && !slices.ContainsFunc(x.Addresses, isText(entry)) {
		field = "aliases"
	}
	if of, ok := list[field]; ok {
		if i := slices.IndexFunc(of, isText(entry)); i >= 0 {
			return fmt.Sprintf("%s.%s[%d]", at, field, i)
		}
	}
	switch field {
	case "":
		return ""
	case "sysctls", "address_options":
		return at + "." + field + "." + entry
	case "altnames":
		if i := slices.Index(x.AltNames, entry); i >= 0 {
			return fmt.Sprintf("%s.altnames[%d]", at, i)
		}
	case "offloads":
		for name := range x.Offloads {
			if name == entry || plan.Offload(name) == entry {
				return at + ".offloads." + name
			}
		}
	}
	return at + "." + field
}

func isText(text string) func(netip.Prefix) bool {
	return func(p netip.Prefix) bool { return p.String() == text || p.Masked().String() == text }
}
