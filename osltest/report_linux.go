package osltest

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/seed59451c2b/osl"
)

// shown is how many packets of a sandbox the log of a failed test has.
const shown = 10

// artifacts is the directory that a failed test's packets go to, if it is set.
const artifacts = "OSLTEST_ARTIFACTS"

// report logs what each sandbox holds and the last packets, and writes all packets to a
// file.
func (n *Network) report() {
	n.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	var b strings.Builder
	var all []Packet
	var from []string
	for _, r := range n.recorders {
		packets, _ := r.packets()
		fmt.Fprintf(&b, "\nsandbox %s\n", r.name)
		n.describe(ctx, &b, r.name)
		fmt.Fprintf(&b, "  packets (the last of %d):\n", len(packets))
		told := slices.DeleteFunc(slices.Clone(packets), func(p Packet) bool { return p.membership() })
		for _, p := range told[max(0, len(told)-shown):] {
			fmt.Fprintf(&b, "    %s %s\n", p.Time.Format("15:04:05.000000"), p)
		}
		for _, p := range packets {
			all, from = append(all, p), append(from, r.name+"/"+p.Interface)
		}
	}
	n.t.Log(b.String())
	dir := os.Getenv(artifacts)
	if dir == "" {
		dir = n.t.ArtifactDir()
	}
	path := filepath.Join(dir, strings.Map(func(r rune) rune {
		if strings.ContainsRune("/\\ :", r) {
			return '_'
		}
		return r
	}, n.t.Name())+".pcapng")
	err := os.MkdirAll(dir, 0o755)
	if err == nil {
		err = os.WriteFile(path, pcapng(all, from), 0o644)
	}
	if err != nil {
		n.t.Log("the packets could not be kept: ", err)
		return
	}
	n.t.Logf("packets: %s (kept with %s=DIR in the environment, or the flag -artifacts)", path, artifacts)
}

// describe writes what a sandbox holds.
func (n *Network) describe(ctx context.Context, b *strings.Builder, name string) {
	s, err := n.base.Open(ctx, name)
	if err != nil {
		fmt.Fprintf(b, "  %s\n", n.short(err.Error()))
		return
	}
	defer s.Close()
	st, err := s.Inspect(ctx)
	if err != nil {
		fmt.Fprintf(b, "  %s\n", n.short(err.Error()))
		return
	}
	for _, x := range st.Interfaces {
		state := "down"
		if x.Up {
			state = "up"
		}
		if x.Up && !x.Carrier {
			state = "no carrier"
		}
		fmt.Fprintf(b, "  %s: %s, mtu %d, %s", x.Name, state, x.MTU, x.MAC)
		if x.Master != "" {
			fmt.Fprintf(b, ", port of %s", x.Master)
		}
		for _, a := range slices.Concat(x.Addresses, x.Aliases) {
			fmt.Fprintf(b, ", %s", a)
		}
		b.WriteByte('\n')
	}
	route := func(r osl.RouteSpec) {
		fmt.Fprintf(b, "  route %s", r.To)
		if r.Via.IsValid() {
			fmt.Fprintf(b, " via %s", r.Via)
		}
		if r.Dev != "" {
			fmt.Fprintf(b, " dev %s", r.Dev)
		}
		b.WriteByte('\n')
	}
	for _, g := range []netip.Addr{st.Gateway, st.Gateway6} {
		if g.IsValid() {
			fmt.Fprintf(b, "  gateway %s\n", g)
		}
	}
	for _, r := range st.Routes {
		route(r)
	}
	for _, r := range st.OtherRoutes {
		route(r.RouteSpec)
	}
	for _, line := range sockets(ctx, s) {
		fmt.Fprintf(b, "  socket %s\n", line)
	}
}

// tcpStates are those of net/tcp_states.h.
var tcpStates = [...]string{1: "ESTABLISHED", "SYN_SENT", "SYN_RECV", "FIN_WAIT1", "FIN_WAIT2", "TIME_WAIT", "CLOSE", "CLOSE_WAIT", "LAST_ACK", "LISTEN", "CLOSING", "NEW_SYN_RECV"}

// sockets lists the TCP and UDP sockets of a sandbox.
func sockets(ctx context.Context, s *osl.Namespace) (list []string) {
	texts := map[string][]byte{}
	_ = s.Do(ctx, func(context.Context) error {
		for _, kind := range []string{"tcp", "tcp6", "udp", "udp6"} {
			texts[kind], _ = os.ReadFile("/proc/thread-self/net/" + kind) // a kernel without IPv6 has two
		}
		return nil
	})
	for _, kind := range slices.Sorted(maps.Keys(texts)) {
		for line := range strings.Lines(string(texts[kind])) {
			f := strings.Fields(line)
			if len(f) < 4 || f[0] == "sl" {
				continue
			}
			state := ""
			if i, err := strconv.ParseUint(f[3], 16, 8); err == nil && int(i) < len(tcpStates) && strings.HasPrefix(kind, "tcp") {
				state = " " + tcpStates[i]
			}
			list = append(list, fmt.Sprintf("%s %s -> %s%s", kind, procAddr(f[1]), procAddr(f[2]), state))
		}
	}
	return list
}

// procAddr reads an address as /proc/net has it: words in the machine's order.
func procAddr(s string) string {
	host, port, _ := strings.Cut(s, ":")
	b, err := hex.DecodeString(host)
	p, perr := strconv.ParseUint(port, 16, 16)
	if err != nil || perr != nil || len(b)%4 != 0 {
		return s
	}
	for i := 0; i < len(b); i += 4 {
		binary.NativeEndian.PutUint32(b[i:], binary.BigEndian.Uint32(b[i:]))
	}
	a, ok := netip.AddrFromSlice(b)
	if !ok {
		return s
	}
	return netip.AddrPortFrom(a, uint16(p)).String()
}

// String tells what a packet is, in a line.
func (p Packet) String() string {
	way := "in "
	if p.Out {
		way = "out"
	}
	return fmt.Sprintf("%s %s %s", p.Interface, way, summary(p.Data))
}

// membership reports whether a packet is of IGMP or MLD, which every interface sends for
// a while after it went up.
func (p Packet) membership() bool {
	_, to, ok := addresses(p.Data)
	return ok && to.IsMulticast() && (len(p.Data) > 23 && p.Data[12] == 8 && p.Data[23] == 2 || p.Data[12] == 0x86 && p.Data[20] == 0)
}

func summary(frame []byte) string {
	from, to, ok := addresses(frame)
	if !ok {
		return fmt.Sprintf("%d bytes, not of IP", len(frame))
	}
	kind, body := binary.BigEndian.Uint16(frame[12:]), frame[14:]
	if kind == 0x0806 {
		if binary.BigEndian.Uint16(body[6:]) == 2 {
			return fmt.Sprintf("ARP %s is at %x", from, body[8:14])
		}
		return fmt.Sprintf("ARP who has %s, asks %s", to, from)
	}
	protocol, header := body[6], 40
	if kind == 0x0800 {
		protocol, header = body[9], int(body[0]&15)*4
	}
	rest := body[min(len(body), header):]
	name := map[byte]string{1: "ICMP", 6: "TCP", 17: "UDP", 58: "ICMPv6"}[protocol]
	switch {
	case (protocol == 6 || protocol == 17) && len(rest) >= 8:
		from, to := netip.AddrPortFrom(from, binary.BigEndian.Uint16(rest)), netip.AddrPortFrom(to, binary.BigEndian.Uint16(rest[2:]))
		if protocol == 17 || len(rest) < 20 {
			return fmt.Sprintf("%s %s > %s, %d bytes", name, from, to, len(rest)-8)
		}
		var flags []string
		for i, f := range []string{"FIN", "SYN", "RST", "PSH", "ACK"} {
			if rest[13]&(1<<i) != 0 {
				flags = append(flags, f)
			}
		}
		return fmt.Sprintf("TCP %s > %s %s, %d bytes", from, to, strings.Join(flags, "+"), max(0, len(rest)-int(rest[12]>>4)*4))
	case name != "" && len(rest) >= 2:
		return fmt.Sprintf("%s %s > %s, type %d code %d", name, from, to, rest[0], rest[1])
	}
	return fmt.Sprintf("IP %s > %s, protocol %d", from, to, protocol)
}

// pcapng is a file of packets, with an interface for each name in from: the format of
// draft-ietf-opsawg-pcapng.
func pcapng(packets []Packet, from []string) []byte {
	var b bytes.Buffer
	le := binary.LittleEndian
	block := func(kind uint32, body []byte) {
		for len(body)%4 != 0 {
			body = append(body, 0)
		}
		size := uint32(len(body) + 12)
		b.Write(le.AppendUint32(le.AppendUint32(nil, kind), size))
		b.Write(body)
		b.Write(le.AppendUint32(nil, size))
	}
	option := func(to []byte, code uint16, value []byte) []byte {
		to = append(le.AppendUint16(le.AppendUint16(to, code), uint16(len(value))), value...)
		for len(to)%4 != 0 {
			to = append(to, 0)
		}
		return to
	}
	head := le.AppendUint16(le.AppendUint16(le.AppendUint32(nil, 0x1A2B3C4D), 1), 0)
	block(0x0A0D0D0A, le.AppendUint64(head, ^uint64(0))) // of unknown length
	index := map[string]uint32{}
	for _, name := range from {
		if _, ok := index[name]; ok {
			continue
		}
		index[name] = uint32(len(index))
		body := le.AppendUint32(le.AppendUint16(le.AppendUint16(nil, 1), 0), 0) // LINKTYPE_ETHERNET, whole packets
		body = option(body, 2, []byte(name))                                    // if_name
		body = option(body, 9, []byte{9})                                       // if_tsresol: nanoseconds
		block(1, option(body, 0, nil))
	}
	order := make([]int, len(packets))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(i, j int) int { return packets[i].Time.Compare(packets[j].Time) })
	for _, i := range order {
		p := packets[i]
		ns := uint64(p.Time.UnixNano())
		body := le.AppendUint32(nil, index[from[i]])
		body = le.AppendUint32(le.AppendUint32(body, uint32(ns>>32)), uint32(ns))
		body = le.AppendUint32(le.AppendUint32(body, uint32(len(p.Data))), uint32(len(p.Data)))
		body = append(body, p.Data...)
		for len(body)%4 != 0 {
			body = append(body, 0)
		}
		direction := byte(1)
		if p.Out {
			direction = 2
		}
		block(6, option(option(body, 2, []byte{direction, 0, 0, 0}), 0, nil)) // epb_flags
	}
	return b.Bytes()
}
