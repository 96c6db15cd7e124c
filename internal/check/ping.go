package check

import (
	"context"
	"encoding/binary"
	"math/rand/v2"
	"net"
	"net/netip"
	"syscall"

	"golang.org/x/net/icmp"
	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
)

// family is what differs between ICMP of the two families.
type family struct {
	network, any string
	protocol     int // as in the IP header
	echo, reply  icmp.Type
	unreachable  icmp.Type
	ipHeader     int // bytes of the shortest IP header
}

var (
	family4 = family{"ip4:icmp", "0.0.0.0", 1, ipv4.ICMPTypeEcho, ipv4.ICMPTypeEchoReply, ipv4.ICMPTypeDestinationUnreachable, 20}
	family6 = family{"ip6:ipv6-icmp", "::", 58, ipv6.ICMPTypeEchoRequest, ipv6.ICMPTypeEchoReply, ipv6.ICMPTypeDestinationUnreachable, 40}
)

// pinger sends echo requests of one id and knows the answers to them.
type pinger struct {
	family
	conn *icmp.PacketConn
	to   *net.IPAddr
	id   int
}

// ping asks for an ICMP echo until there is one.
func ping(ctx context.Context, to netip.Addr) outcome {
	to, err := zoneIndex(to.Unmap())
	if err != nil {
		return judge(err)
	}
	p := pinger{family: family6, to: &net.IPAddr{IP: to.AsSlice(), Zone: to.Zone()}}
	if to.Is4() {
		p.family = family4
	}
	// All raw sockets of a namespace see all replies; the id tells them apart.
	p.id = rand.IntN(1 << 16)
	p.conn, err = icmp.ListenPacket(p.network, p.any)
	if err != nil {
		return judge(err)
	}
	defer p.conn.Close()
	return converse(ctx, p.conn, p.send, p.receive)
}

func (p *pinger) send(seq int) error {
	m := icmp.Message{Type: p.echo, Body: &icmp.Echo{ID: p.id, Seq: seq, Data: []byte("osl check")}}
	// The kernel fills in the checksum of ICMPv6.
	b, err := m.Marshal(nil)
	if err != nil {
		return err
	}
	_, err = p.conn.WriteTo(b, p.to)
	return err
}

// receive reads one message: the reply, or word that the echo request could
// not be delivered, which it returns as the errno that a connected socket
// would have got.
func (p *pinger) receive(buf []byte) (bool, error) {
	n, from, err := p.conn.ReadFrom(buf)
	if err != nil {
		return false, err
	}
	m, err := icmp.ParseMessage(p.protocol, buf[:n])
	if err != nil {
		return false, nil // not for us: any ICMP of the namespace is seen here
	}
	switch body := m.Body.(type) {
	case *icmp.Echo:
		sender, ok := from.(*net.IPAddr)
		return ok && m.Type == p.reply && body.ID == p.id && sender.IP.Equal(p.to.IP), nil
	case *icmp.DstUnreach:
		if m.Type == p.unreachable && p.isOurs(body.Data) {
			return false, syscall.EHOSTUNREACH
		}
	}
	return false, nil
}

// isOurs reports whether the packet that an ICMP error quotes is one of ours:
// an IP header, then the echo request with its id at byte 4.
func (p *pinger) isOurs(quoted []byte) bool {
	header := p.ipHeader
	if p.protocol == family4.protocol && len(quoted) > 0 {
		header = int(quoted[0]&0x0f) * 4
	}
	return len(quoted) >= header+6 && int(binary.BigEndian.Uint16(quoted[header+4:])) == p.id
}
