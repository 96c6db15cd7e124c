//go:build linux

package main

import (
	"encoding/json"
	"fmt"
	"iter"
	"net/netip"
	"os"
	"slices"
	"strings"

	"github.com/containernetworking/cni/pkg/skel"
	"github.com/containernetworking/cni/pkg/types"
	current "github.com/containernetworking/cni/pkg/types/100"
	"github.com/containernetworking/cni/pkg/version"
)

// hostLocal is the IPAM plugin that osl-cni does by itself, since starting its process
// is half of the work of an attachment. The files and the lock are those of the plugin,
// which may be used beside it.
const hostLocal = "host-local"

// addressRange are the addresses of a subnet that are given out: from First to Last,
// without the gateway.
type addressRange struct {
	First   netip.Addr   `json:"rangeStart"`
	Last    netip.Addr   `json:"rangeEnd"`
	Subnet  netip.Prefix `json:"subnet"`
	Gateway netip.Addr   `json:"gateway"`
}

// rangeSet are ranges of one family, of which an attachment gets one address.
type rangeSet []addressRange

// pool is a configuration of host-local.
type pool struct {
	version, network string
	valid            []types.GCAttachment
	dir              string
	resolvConf       string
	routes           []*types.Route
	sets             []rangeSet
	asked            []netip.Addr // addresses that are asked for
	askedErr         error        // what is wrong with those
}

// loadPool reads the configuration of host-local in that of a network.
func loadPool(raw []byte, args string) (*pool, error) {
	var c struct {
		types.PluginConf
		IPAM *struct {
			addressRange
			Routes     []*types.Route `json:"routes"`
			DataDir    string         `json:"dataDir"`
			ResolvConf string         `json:"resolvConf"`
			Ranges     []rangeSet     `json:"ranges"`
		} `json:"ipam"`
		RuntimeConfig struct {
			IPRanges []rangeSet `json:"ipRanges"`
			IPs      []string   `json:"ips"`
		} `json:"runtimeConfig"`
		Args struct {
			CNI struct {
				IPs []string `json:"ips"`
			} `json:"cni"`
		} `json:"args"`
	}
	if err := json.Unmarshal(raw, &c); err != nil {
		return nil, types.NewError(types.ErrDecodingFailure, "the configuration of host-local can not be read", err.Error())
	}
	if c.IPAM == nil {
		return nil, invalid("IPAM config missing 'ipam' key")
	}
	var env envArgs
	p := &pool{askedErr: loadArgs(args, &env), version: c.CNIVersion, network: c.Name, valid: c.ValidAttachments, dir: c.IPAM.DataDir, resolvConf: c.IPAM.ResolvConf, routes: c.IPAM.Routes}
	for _, text := range slices.Concat([]string{string(env.IP)}, c.Args.CNI.IPs, c.RuntimeConfig.IPs) {
		if text == "" {
			continue
		}
		text, _, _ = strings.Cut(text, "/") // its length is that of the subnet
		ip, err := netip.ParseAddr(text)
		if err != nil {
			p.askedErr = invalid("the address %q that is asked for: %v", text, err)
			break
		}
		p.asked = append(p.asked, ip.Unmap())
	}
	p.sets = c.RuntimeConfig.IPRanges
	if c.IPAM.Subnet.IsValid() {
		p.sets = append(p.sets, rangeSet{c.IPAM.addressRange})
	}
	p.sets = append(p.sets, c.IPAM.Ranges...)
	return p, nil
}

// check completes the ranges, and says what is wrong with them. What gives addresses
// back does without.
func (p *pool) check() error {
	if len(p.sets) == 0 {
		return invalid("no IP ranges specified")
	}
	families := map[bool]int{}
	for i, s := range p.sets {
		if err := s.check(); err != nil {
			return invalid("invalid range set %d: %v", i, err)
		}
		families[s[0].First.Is4()]++
		for j, o := range p.sets[:i] {
			if s.overlaps(o) {
				return invalid("range set %d overlaps with %d", j, i)
			}
		}
	}
	return oneEach(families, p.version)
}

// oneEach refuses more addresses of a family than results of a version have room for.
func oneEach(families map[bool]int, ver string) error {
	if families[true] > 1 || families[false] > 1 {
		if ok, _ := version.GreaterThanOrEqualTo(ver, "0.3.0"); !ok {
			return invalid("CNI version %v does not support more than 1 address per family", ver)
		}
	}
	return nil
}

func (s rangeSet) check() error {
	if len(s) == 0 {
		return fmt.Errorf("empty range set")
	}
	for i := range s {
		if err := s[i].check(); err != nil {
			return err
		}
		if s[i].First.Is4() != s[0].First.Is4() {
			return fmt.Errorf("mixed address families")
		}
		if s[:i].overlaps(s[i : i+1]) {
			return fmt.Errorf("subnets overlap: %v", s)
		}
	}
	return nil
}

func (r *addressRange) check() error {
	n := r.Subnet
	switch {
	case !n.IsValid():
		return fmt.Errorf("a range has no subnet")
	case n.Addr().Is4In6():
		return fmt.Errorf("%v: write the subnet as one of IPv4", n)
	case n.Bits() > n.Addr().BitLen()-2:
		return fmt.Errorf("network %v too small to allocate from", n)
	case n != n.Masked():
		return fmt.Errorf("network %v has host bits set: write %v", n, n.Masked())
	}
	last := n.Addr().AsSlice()
	for i := n.Bits(); i < len(last)*8; i++ {
		last[i/8] |= 0x80 >> (i % 8)
	}
	end, _ := netip.AddrFromSlice(last)
	if end.Is4() {
		end = end.Prev() // the broadcast address
	}
	for _, x := range []struct {
		name string
		ip   *netip.Addr
		def  netip.Addr
	}{{"gateway", &r.Gateway, n.Addr().Next()}, {"rangeStart", &r.First, n.Addr().Next()}, {"rangeEnd", &r.Last, end}} {
		if !x.ip.IsValid() {
			*x.ip = x.def
		}
		if *x.ip = x.ip.Unmap(); !n.Contains(*x.ip) {
			return fmt.Errorf("%s %v not in network %v", x.name, *x.ip, n)
		}
	}
	if r.First.Compare(r.Last) > 0 {
		return fmt.Errorf("rangeStart %v is after rangeEnd %v in network %v", r.First, r.Last, n)
	}
	return nil
}

func (r *addressRange) contains(ip netip.Addr) bool {
	return ip.Is4() == r.First.Is4() && r.First.Compare(ip) <= 0 && ip.Compare(r.Last) <= 0
}

// of returns the range that an address is of, nil for none.
func (s rangeSet) of(ip netip.Addr) *addressRange {
	if i := slices.IndexFunc(s, func(r addressRange) bool { return r.contains(ip) }); i >= 0 {
		return &s[i]
	}
	return nil
}

func (s rangeSet) overlaps(o rangeSet) bool {
	for i := range s {
		for j := range o {
			if s[i].contains(o[j].First) || o[j].contains(s[i].First) {
				return true
			}
		}
	}
	return false
}

func (s rangeSet) String() string {
	list := make([]string, len(s))
	for i, r := range s {
		list[i] = fmt.Sprintf("%v-%v", r.First, r.Last)
	}
	return strings.Join(list, ",")
}

// after yields the addresses of a set, from the one after last on, round to that one;
// from the first one on if it is of another.
func (s rangeSet) after(last netip.Addr) iter.Seq2[netip.Addr, *addressRange] {
	return func(yield func(netip.Addr, *addressRange) bool) {
		i := max(0, slices.IndexFunc(s, func(r addressRange) bool { return r.contains(last) }))
		ip, began := last, netip.Addr{}
		for {
			switch {
			case s.of(ip) == nil:
				ip = s[i].First
			case ip == s[i].Last:
				i = (i + 1) % len(s)
				ip = s[i].First
			default:
				ip = ip.Next()
			}
			if ip == began {
				return
			}
			if !began.IsValid() {
				began = ip
			}
			if ip != s[i].Gateway && !yield(ip, &s[i]) {
				return
			}
		}
	}
}

// lease gives an attachment an address of each set.
func (p *pool) lease(args *skel.CmdArgs) (r *current.Result, err error) {
	if err := p.check(); err != nil {
		return nil, err
	}
	if p.askedErr != nil { // DEL has to do without
		return nil, p.askedErr
	}
	r = &current.Result{CNIVersion: current.ImplementedSpecVersion, Routes: p.routes}
	if p.resolvConf != "" {
		if r.DNS, err = resolver(p.resolvConf); err != nil {
			return nil, err
		}
	}
	s, err := p.store()
	if err != nil {
		return nil, err
	}
	defer s.close()
	have, err := s.sweep(args.ContainerID, args.IfName)
	if err != nil {
		return nil, err
	}
	asked := slices.Clone(p.asked)
	defer func() {
		if err != nil {
			for _, ip := range r.IPs {
				a, _ := addrOf(ip.Address.IP)
				_ = s.remove(a.String(), ownerOf(args.ContainerID, args.IfName))
			}
			r = nil
		}
	}()
	for i, set := range p.sets {
		ip, of, err := netip.Addr{}, (*addressRange)(nil), error(nil)
		if j := slices.IndexFunc(asked, func(ip netip.Addr) bool { return set.of(ip) != nil }); j >= 0 {
			ip, of = asked[j], set.of(asked[j])
			asked = slices.Delete(asked, j, j+1)
			err = s.take(ip, of, args, i)
		} else if j := slices.IndexFunc(have, func(ip netip.Addr) bool { return set.of(ip) != nil }); j >= 0 {
			err = fmt.Errorf("%v has been allocated to %s, duplicate allocation is not allowed", have[j], args.ContainerID)
		} else {
			ip, of, err = s.next(set, args, i)
		}
		if err != nil {
			return r, fmt.Errorf("failed to allocate for range %d: %w", i, err)
		}
		r.IPs = append(r.IPs, &current.IPConfig{Gateway: of.Gateway.AsSlice(),
			Address: ipNet(netip.PrefixFrom(ip, of.Subnet.Bits()))})
	}
	if len(asked) > 0 {
		return r, fmt.Errorf("failed to allocate all requested IPs: %v", strings.Trim(fmt.Sprint(asked), "[]"))
	}
	return r, nil
}

// resolver reads a file like /etc/resolv.conf.
func resolver(file string) (dns types.DNS, err error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return dns, err
	}
	for _, line := range strings.Split(string(b), "\n") {
		f := strings.Fields(line)
		if len(f) < 2 {
			continue
		}
		switch f[0] { // of a comment it is neither
		case "nameserver":
			dns.Nameservers = append(dns.Nameservers, f[1])
		case "domain":
			dns.Domain = f[1]
		case "search":
			dns.Search = append(dns.Search, f[1:]...)
		case "options":
			dns.Options = append(dns.Options, f[1:]...)
		}
	}
	return dns, nil
}

// hostLocalFuncs are the verbs of osl-cni that is called as host-local.
var hostLocalFuncs = skel.CNIFuncs{Add: addLocal, Del: askLocal("DEL"), Check: askLocal("CHECK"), GC: askLocal("GC"), Status: askLocal("STATUS")}

func addLocal(args *skel.CmdArgs) error {
	p, err := loadPool(args.StdinData, args.Args)
	if err != nil {
		return err
	}
	r, err := p.lease(args)
	if err != nil {
		return err
	}
	return types.PrintResult(r, p.version)
}

func askLocal(verb string) func(args *skel.CmdArgs) error {
	return func(args *skel.CmdArgs) error {
		p, err := loadPool(args.StdinData, args.Args)
		if err != nil {
			return err
		}
		return p.ask(verb, args)
	}
}

// ask does a verb that has no result.
func (p *pool) ask(verb string, args *skel.CmdArgs) error {
	if verb == "STATUS" {
		return p.check()
	}
	s, err := p.store()
	if err != nil {
		return err
	}
	defer s.close()
	switch verb {
	case "DEL":
		return s.release(args.ContainerID, args.IfName)
	case "GC":
		return s.collect(p.valid)
	default:
		have, err := s.sweep(args.ContainerID, args.IfName)
		if err == nil && len(have) == 0 {
			err = fmt.Errorf("host-local: Failed to find address added by container %v", args.ContainerID)
		}
		return err
	}
}
