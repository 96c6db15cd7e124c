package clients

import (
	"bytes"
	"errors"
	"io/fs"
	"net"
	"os"
	"testing"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"

	"github.com/seed59451c2b/osl"
	"github.com/seed59451c2b/osl/osltest"
)

// A tap, as a VMM has it, answered by a stack in this process: it says where 10.0.0.9
// is, and sends datagrams back.
func TestTap(t *testing.T) {
	t.Parallel()
	if f, err := os.OpenFile("/dev/net/tun", os.O_RDWR, 0); errors.Is(err, fs.ErrPermission) || errors.Is(err, fs.ErrNotExist) {
		t.Skipf("this user has no tun device: %v", err)
	} else if err == nil {
		f.Close()
	}
	n := osltest.Up(t, osl.Network{Sandboxes: []osl.Spec{{Name: "vm", Interfaces: []osl.InterfaceSpec{
		{Name: "tap0", Type: "tap", Addresses: nets("10.0.0.1/24")}}}}})
	tap, err := n.Sandbox("vm").OpenTun("tap0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() { defer close(done); answer(tap, net.HardwareAddr{2, 0, 0, 0, 0, 9}, net.IP{10, 0, 0, 9}) }()
	defer func() { _ = tap.Close(); <-done }()

	c, err := n.Sandbox("vm").DialContext(t.Context(), "udp", "10.0.0.9:7")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	buf := make([]byte, 100)
	for end := time.Now().Add(10 * time.Second); ; {
		if _, err := c.Write([]byte("hello, vm")); err != nil {
			t.Fatal(err)
		}
		_ = c.SetReadDeadline(time.Now().Add(time.Second))
		k, err := c.Read(buf)
		if err == nil && string(buf[:k]) == "hello, vm" {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%q, %v", buf[:k], err)
		}
	}
}

// answer is a host with one address, until the tap is closed.
func answer(tap *os.File, mac net.HardwareAddr, ip net.IP) {
	frame := make([]byte, 1<<16)
	send := func(parts ...gopacket.SerializableLayer) {
		b := gopacket.NewSerializeBuffer()
		if gopacket.SerializeLayers(b, gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}, parts...) == nil {
			_, _ = tap.Write(b.Bytes())
		}
	}
	for {
		k, err := tap.Read(frame)
		if err != nil {
			return
		}
		p := gopacket.NewPacket(frame[:k], layers.LayerTypeEthernet, gopacket.Default)
		from, ok := p.LinkLayer().(*layers.Ethernet)
		if !ok {
			continue
		}
		ethernet := &layers.Ethernet{SrcMAC: mac, DstMAC: from.SrcMAC, EthernetType: from.EthernetType}
		if q, ok := p.Layer(layers.LayerTypeARP).(*layers.ARP); ok && q.Operation == layers.ARPRequest && bytes.Equal(q.DstProtAddress, ip) {
			send(ethernet, &layers.ARP{AddrType: q.AddrType, Protocol: q.Protocol, HwAddressSize: 6, ProtAddressSize: 4, Operation: layers.ARPReply,
				SourceHwAddress: mac, SourceProtAddress: ip, DstHwAddress: q.SourceHwAddress, DstProtAddress: q.SourceProtAddress})
		}
		u, ok := p.Layer(layers.LayerTypeUDP).(*layers.UDP)
		v4, is4 := p.Layer(layers.LayerTypeIPv4).(*layers.IPv4)
		if ok && is4 && v4.DstIP.Equal(ip) {
			back := &layers.IPv4{Version: 4, TTL: 64, Protocol: layers.IPProtocolUDP, SrcIP: ip, DstIP: v4.SrcIP}
			datagram := &layers.UDP{SrcPort: u.DstPort, DstPort: u.SrcPort}
			if datagram.SetNetworkLayerForChecksum(back) == nil {
				send(ethernet, back, datagram, gopacket.Payload(u.Payload))
			}
		}
	}
}
