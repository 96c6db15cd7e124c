package want

import (
	"crypto/sha256"
	"encoding/base32"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/seed59451c2b/osl/internal/fault"
	"github.com/seed59451c2b/osl/internal/near"
	"github.com/seed59451c2b/osl/internal/where"
)

// Segment is more of a segment than that it is there: osl.SegmentSpec.
type Segment struct {
	Name   string
	Subnet []netip.Prefix
}

// SegmentsOf names the sandbox of a network in which the bridges of its segments are.
func SegmentsOf(network string) string { return network + ".segments" }

// maxPorts is how many ports a bridge of the kernel can have.
const maxPorts = 1023

// written returns the network as it would be written without segments and subnets: a
// sandbox has a bridge for each segment, with a port for each of its interfaces, and
// those that a subnet numbers have addresses.
func (net *Network) written(k Keys) (*Network, error) {
	if !net.hasSegments() {
		return net, nil
	}
	w := *net
	w.Sandboxes = slices.Clone(net.Sandboxes)
	for i := range w.Sandboxes {
		w.Sandboxes[i].Interfaces = slices.Clone(w.Sandboxes[i].Interfaces)
	}
	if err := w.checkSegments(); err != nil {
		return nil, err
	}
	if err := w.number(k); err != nil {
		return nil, err
	}
	return &w, w.bridge(k)
}

func (net *Network) hasSegments() bool {
	if len(net.Segments) > 0 {
		return true
	}
	for i := range net.Sandboxes {
		for j := range net.Sandboxes[i].Interfaces {
			if f := &net.Sandboxes[i].Interfaces[j]; f.Segment != "" || len(f.Subnet) > 0 {
				return true
			}
		}
	}
	return false
}

func (net *Network) checkSegments() error {
	seen := map[string]bool{}
	for i, s := range net.Segments {
		err := where.In("name", "", ValidName(s.Name))
		if err == nil && seen[s.Name] {
			err = where.In("name", "", fault.Invalidf("the segment %q is there twice", s.Name))
		}
		if err == nil {
			err = where.In("subnet", "", validSubnets(s.Subnet))
		}
		if err != nil {
			return where.In("segments", strconv.Itoa(i), err)
		}
		seen[s.Name] = true
	}
	return nil
}

func validSubnets(list []netip.Prefix) error {
	for i, p := range list {
		bad := func(format string, args ...any) error {
			return where.In(fmt.Sprintf("[%d]", i), "", fault.Invalidf(format, args...))
		}
		switch {
		case !p.IsValid() || p.Addr().Is4In6() || p.Addr().Zone() != "":
			return bad("%v is no subnet", p)
		case p != p.Masked():
			return bad("%v is an address: its subnet is %v", p, p.Masked())
		case p.Addr().IsMulticast() || p.Addr().IsLoopback() || p.Bits() == 0:
			return bad("%v has no addresses for interfaces", p)
		}
	}
	return nil
}

// bridge adds the sandbox of the segments, and makes the interfaces of a segment links
// to ports of its bridge.
func (net *Network) bridge(k Keys) error {
	var listed []string
	for _, s := range net.Segments {
		listed = append(listed, s.Name)
	}
	ends := net.ends()
	room := Sandbox{Name: SegmentsOf(net.Name)}
	ports := map[string]int{}
	for i := range net.Sandboxes {
		s := &net.Sandboxes[i]
		for j := range s.Interfaces {
			f := &s.Interfaces[j]
			name := f.Segment
			if name == "" {
				continue
			}
			err := f.onSegment(net.Name, listed, ends[Endpoint{s.Name, f.Name}])
			if ports[name] == maxPorts && err == nil {
				err = fault.Invalidf("the segment %q has more interfaces than the %d ports that a bridge can have", name, maxPorts)
			}
			if err != nil {
				return aboutIface(k, s.Name, f.Name, where.In("segment", "", err))
			}
			if ports[name] == 0 {
				room.Interfaces = append(room.Interfaces, Iface{Name: name, Type: "bridge"})
			}
			ports[name]++
			f.Peer, f.Segment = Endpoint{room.Name, portName(s.Name, f.Name)}, ""
			room.Interfaces = append(room.Interfaces, Iface{Name: f.Peer.Interface, Master: name})
		}
	}
	if len(room.Interfaces) == 0 {
		return nil
	}
	for i := range net.Sandboxes {
		if s := &net.Sandboxes[i]; s.Name == room.Name {
			return aboutIface(k, s.Name, "", fault.Invalidf("%s is the sandbox of the network's segments: call this one otherwise", s.Name))
		}
	}
	net.Sandboxes = append(net.Sandboxes, room)
	return nil
}

// onSegment refuses what can not be an interface of a segment.
func (f *Iface) onSegment(network string, listed []string, linked bool) error {
	switch {
	case network == "":
		return fault.Invalidf("an interface can be on a segment where its network has a name, by which the segment is found again")
	case len(listed) > 0 && !slices.Contains(listed, f.Segment):
		return fault.Invalidf("the network lists segments, and %q is none of them%s", f.Segment, near.Hint(f.Segment, listed))
	case f.Type != "" && f.Type != "veth" || f.Source != "" || f.Name == "lo":
		return fault.Invalidf("only a veth can be on a segment: osl makes it, and the other end is a port")
	case linked || f.Peer != (Endpoint{}):
		return fault.Invalidf("it is the end of a link already, and can not be on the segment %q too", f.Segment)
	}
	return ValidName(f.Segment)
}

// ends returns the ends of the network's links.
func (net *Network) ends() map[Endpoint]bool {
	ends := map[Endpoint]bool{}
	for _, l := range net.Links {
		ends[l[0]], ends[l[1]] = true, true
	}
	for i := range net.Sandboxes {
		for _, f := range net.Sandboxes[i].Interfaces {
			if f.Peer != (Endpoint{}) {
				ends[f.Peer] = true
			}
		}
	}
	return ends
}

// portName is what the port of an interface is called: after it, or where that is too
// long, a part of it and a hash, so that it is always the same.
func portName(sandbox, iface string) string {
	name := sandbox + "." + iface
	if ValidName(name) == nil && strings.Count(name, ".") == 1 {
		return name
	}
	sum := sha256.Sum256([]byte(sandbox + "/" + iface))
	hash := strings.ToLower(base32.StdEncoding.EncodeToString(sum[:]))[:9]
	start := strings.Map(func(r rune) rune {
		if r < '0' || r > 'z' || strings.ContainsRune(`:;<=>?@[\]^_`+"`", r) {
			return -1
		}
		return r
	}, sandbox)
	return start[:min(len(start), MaxName-1-len(hash))] + "~" + hash
}

func aboutIface(k Keys, sandbox, iface string, err error) error {
	key, kerr := k.Path(sandbox)
	if kerr != nil {
		return kerr
	}
	return fault.At(key, iface, err)
}
