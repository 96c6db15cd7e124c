package netfile

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/goccy/go-yaml/ast"

	"github.com/seed59451c2b/osl"
)

// clabEnd is an end of a link: of a node, or with one of the names below instead of a
// node.
type clabEnd struct {
	node, iface string
	mac         ast.Node
	addresses   []ast.Node
	at          ast.Node
}

// Names that stand in place of a node.
const (
	clabHost    = "host"
	clabMgmt    = "mgmt-net"
	clabMacvlan = "macvlan"
)

// ends returns the ends of a link in either form, and its other fields.
func (c *clab) ends(n ast.Node) (ends []clabEnd, fields mapping) {
	_, fields = c.pairs(n, "a link")
	list := fields["endpoints"]
	if list == nil {
		list = fields["endpoint"]
	}
	if list == nil {
		c.d.fail(n, "a link needs endpoints: [\"NODE:INTERFACE\", \"NODE:INTERFACE\"]")
		return nil, fields
	}
	items := []ast.Node{list.Value}
	if keyText(list.Key) == "endpoints" {
		items = c.items(list.Value)
	}
	for i, item := range items {
		item = c.d.resolve(item)
		e := clabEnd{at: item}
		if item == nil {
			return nil, fields
		}
		if _, ok := c.d.entries(item); ok {
			_, m := c.pairs(item, "an endpoint")
			for name, to := range map[string]*string{"node": &e.node, "interface": &e.iface} {
				if m[name] != nil {
					*to = c.text(m[name].Value)
				}
			}
			if m["mac"] != nil {
				e.mac = m["mac"].Value
			}
			for _, name := range []string{"ipv4", "ipv6"} {
				if m[name] != nil {
					e.addresses = append(e.addresses, m[name].Value)
				}
			}
		} else {
			e.node, e.iface, _ = strings.Cut(c.text(item), ":")
			e.node, e.iface = strings.TrimSpace(e.node), strings.TrimSpace(e.iface)
			for _, name := range []string{"ipv4", "ipv6"} { // one for each end
				if fields[name] != nil {
					if list := c.items(fields[name].Value); i < len(list) {
						e.addresses = append(e.addresses, list[i])
					}
				}
			}
		}
		if e.node == "" || e.iface == "" {
			c.d.fail(item, "%s is no end of a link: write NODE:INTERFACE", describe(item))
			return nil, fields
		}
		ends = append(ends, e)
	}
	return ends, fields
}

// segment finds bridges that are no plain segment: of which a link leads to something
// else than a node.
func (c *clab) segment(n ast.Node) {
	before := len(c.d.problems)
	ends, _ := c.ends(n)
	c.d.problems = c.d.problems[:before] // c.link says it
	for i, e := range ends {
		if _, ok := c.bridges[e.node]; !ok {
			continue
		}
		if len(ends) != 2 || c.find(ends[1-i].node) == nil {
			c.bridges[e.node] = false
		}
	}
}

// switches makes sandboxes of the bridges that are no plain segment.
func (c *clab) switches() {
	for _, name := range sortedKeys(c.bridges) {
		if !c.bridges[name] {
			b := c.box(name, c.d.src.body)
			b.iface(c.d.src.body, name).Type = "bridge"
		}
	}
}

func sortedKeys(m map[string]bool) (list []string) {
	for k := range m {
		list = append(list, k)
	}
	slices.Sort(list)
	return list
}

// link takes a link in.
func (c *clab) link(n ast.Node) {
	ends, fields := c.ends(n)
	kind := "veth"
	if fields["type"] != nil {
		kind = c.text(fields["type"].Value)
	}
	switch {
	case ends == nil:
	case kind == "veth" && len(ends) != 2:
		c.d.fail(n, "a link has two endpoints")
	case kind == "veth":
		c.veth(n, ends, fields)
	case len(ends) != 1:
		c.d.fail(n, "a link of the type %s has one endpoint", kind)
	case kind == "host" || kind == "macvlan":
		e := fields["host-interface"]
		if e == nil {
			c.d.fail(n, "a link of the type %s needs a host-interface", kind)
			return
		}
		other := clabEnd{node: kind, iface: c.text(e.Value), at: e.Value}
		c.veth(n, append(ends, other), fields)
	case kind == "dummy":
		if f := c.end(ends[0], fields); f != nil {
			f.Type = "dummy"
		}
	case kind == clabMgmt:
		c.left(n, ends[0], managed, noManagement)
	default:
		c.left(n, ends[0], "a link of the type "+kind, notKnown)
	}
}

// left passes a link over that has an end at a node.
func (c *clab) left(n ast.Node, e clabEnd, what, why string) {
	c.d.note(n, what, why)
	if b := c.find(e.node); b != nil {
		b.lacks = append(b.lacks, e.iface)
	}
}

// veth takes a link of two ends in.
func (c *clab) veth(n ast.Node, ends []clabEnd, fields mapping) {
	if c.find(ends[0].node) == nil {
		ends[0], ends[1] = ends[1], ends[0]
	}
	if ends[0].node == clabMgmt || ends[1].node == clabMgmt {
		c.left(n, ends[0], managed, noManagement)
		return
	}
	segment, isBridge := c.bridges[ends[1].node]
	switch {
	case c.find(ends[0].node) == nil && c.find(ends[1].node) == nil && !isBridge && ends[1].node != clabHost && ends[1].node != clabMacvlan:
		c.noNode(ends[1].at, ends[1].node)
		return
	case c.find(ends[0].node) == nil:
		if ends[0].node == clabHost {
			c.d.fail(n, "both ends are on the host")
		} else {
			c.noNode(ends[0].at, ends[0].node)
		}
		return
	case isBridge && segment:
		if f := c.end(ends[0], fields); f != nil {
			f.Segment = ends[1].node
		}
		return
	case ends[1].node == clabMacvlan:
		if f := c.end(ends[0], fields); f != nil {
			f.Type, f.Parent = "macvlan", osl.HostName+"/"+ends[1].iface
			if fields["mode"] != nil {
				f.Mode = c.text(fields["mode"].Value)
			}
		}
		return
	case ends[1].node != clabHost && c.find(ends[1].node) == nil:
		c.noNode(ends[1].at, ends[1].node)
		return
	}
	var l osl.Link
	for i, e := range ends {
		l[i] = osl.Endpoint{Sandbox: e.node, Interface: e.iface}
		if e.node == clabHost {
			l[i].Sandbox = osl.HostName
			continue
		}
		if c.end(e, fields) == nil {
			return
		}
		if _, ok := c.bridges[e.node]; ok {
			c.find(e.node).has(e.iface).Master = e.node
		}
	}
	c.d.at(fmt.Sprintf("links[%d]", len(c.d.file.Links)), n)
	c.d.file.Links = append(c.d.file.Links, l)
}

// clabMTU is the MTU of containerlab's links.
const clabMTU = 9500

// mtus keeps an MTU that a command gave one end of a link from becoming that of the
// other, as it does where a file says nothing of that.
func (c *clab) mtus() {
	for _, l := range c.d.file.Links {
		var ends [2]*osl.InterfaceSpec
		for i, e := range l {
			if b := c.find(e.Sandbox); b != nil {
				ends[i] = b.has(e.Interface)
			}
		}
		for i, f := range ends {
			if o := ends[1-i]; f != nil && o != nil && f.MTU != 0 && o.MTU == 0 {
				o.MTU = clabMTU
			}
		}
	}
}

// end adds the interface that an end of a link is; nil if there is one already.
func (c *clab) end(e clabEnd, fields mapping) *osl.InterfaceSpec {
	b := c.find(e.node)
	if b == nil {
		c.noNode(e.at, e.node)
		return nil
	}
	if b.has(e.iface) != nil {
		c.d.fail(e.at, "%s:%s is an end of another link already", e.node, e.iface)
		return nil
	}
	f := b.iface(e.at, e.iface)
	path := fmt.Sprintf("%s.interfaces[%d]", b.path, len(b.spec.Interfaces)-1)
	if fields["mtu"] != nil {
		c.decode(fields["mtu"].Value, &f.MTU, path+".mtu")
	}
	if e.mac != nil {
		c.decode(e.mac, &f.MAC, path+".mac")
	}
	for _, n := range e.addresses {
		var p netip.Prefix
		if c.decode(n, &p, fmt.Sprintf("%s.addresses[%d]", path, len(f.Addresses))); p.IsValid() {
			f.Addresses = append(f.Addresses, p)
		}
	}
	return f
}
