package osltest

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/seed59451c2b/osl"
)

// A link whose packets are to be lost or delayed is taken apart: both ends are plugged
// into a sandbox of their own, in the one step that Apply makes of it, and what arrives
// at one end there is sent at the other by this process. That works on every kernel,
// and without the rights to /dev/net/tun, and tells neither end.

// relayName begins the names of the sandboxes in the middle.
const relayName = "osltest-relay-"

// relay is the middle of a link.
type relay struct {
	cut    atomic.Bool
	impair atomic.Pointer[Impairment]
	groups atomic.Pointer[map[string]int]
	end    [2]int // packet sockets
	stopFD int    // readable when it is to end
	wg     sync.WaitGroup
}

// relayed returns the relays of links, and makes those that there are not yet.
func (n *Network) relayed(links []osl.Link) (list []*relay) {
	n.t.Helper()
	fresh := slices.DeleteFunc(slices.Clone(links), func(l osl.Link) bool { return n.relays[l] != nil })
	if len(fresh) > 0 {
		n.interpose(fresh)
	}
	for _, l := range links {
		list = append(list, n.relays[l])
	}
	return list
}

// interpose puts a sandbox in the middle of each link. The ends keep their hardware
// addresses, so that nobody has to learn.
func (n *Network) interpose(links []osl.Link) {
	n.t.Helper()
	net := n.standing(links)
	var names []string
	for i, l := range links {
		name := fmt.Sprint(relayName, len(n.relays)+i)
		names = append(names, name)
		middle := osl.Spec{Name: name}
		for i, e := range l {
			end := osl.Endpoint{Sandbox: middle.Name, Interface: [2]string{"a", "b"}[i]}
			n.end(&net, e)
			middle.Interfaces = append(middle.Interfaces, osl.InterfaceSpec{Name: end.Interface})
			net.Links = append(net.Links, osl.Link{e, end})
		}
		net.Sandboxes = append(net.Sandboxes, middle)
	}
	if _, err := n.base.Apply(n.t.Context(), net); err != nil {
		n.t.Fatal(n.short(err.Error()))
	}
	for i, l := range links {
		n.spec.Sandboxes = append(n.spec.Sandboxes, osl.Spec{Name: names[i]})
		r, err := startRelay(n.open(names[i]))
		if err != nil {
			n.t.Fatal(err)
		}
		if groups := n.groups; groups != nil { // which another partition replaces
			r.groups.Store(&groups)
		}
		n.relays[l] = r
	}
	for _, l := range net.Links {
		for _, e := range l {
			n.forward(e)
		}
	}
}

func startRelay(s *osl.Namespace) (*relay, error) {
	r := &relay{stopFD: -1}
	r.impair.Store(&Impairment{})
	for i, name := range [2]string{"a", "b"} {
		fd, err := packetSocket(s, name, true)
		if err != nil {
			if i == 1 {
				unix.Close(r.end[0])
			}
			return nil, err
		}
		r.end[i] = fd
	}
	var err error
	if r.stopFD, err = unix.Eventfd(0, unix.EFD_CLOEXEC); err != nil {
		return nil, err
	}
	for i := range r.end {
		queue := make(chan packet, maxQueue)
		r.wg.Go(func() { r.receive(r.end[i], queue) })
		r.wg.Go(func() { r.send(r.end[1-i], queue) })
	}
	return r, nil
}

// stop ends the relay and waits for that.
func (r *relay) stop() {
	_, _ = unix.Write(r.stopFD, []byte{1, 0, 0, 0, 0, 0, 0, 0})
	r.wg.Wait()
	for _, fd := range append(r.end[:], r.stopFD) {
		unix.Close(fd)
	}
}

// maxQueue is how many packets wait in a direction, as with netem.
const maxQueue = 1000

// packet is a frame with the header that says what the kernel left to do of it:
// checksums, and cutting it up.
type packet struct {
	data []byte
	at   time.Time // when it is to arrive
}

// vnetHeader is the length of struct virtio_net_hdr.
const vnetHeader = 10

func (r *relay) receive(fd int, queue chan<- packet) {
	defer close(queue)
	buf := make([]byte, 1<<17)
	var last, free time.Time
	for {
		k, ok := receive(fd, r.stopFD, buf)
		if !ok {
			return
		}
		if k <= vnetHeader || r.cut.Load() || r.apart(buf[vnetHeader:k]) {
			continue
		}
		i, now := r.impair.Load(), time.Now()
		if i.Loss > 0 && rand.Float64() < i.Loss {
			continue
		}
		at := now
		if i.Rate > 0 {
			if free.After(at) {
				at = free
			}
			at = at.Add(time.Duration(float64(k-vnetHeader) * 8 / float64(i.Rate) * float64(time.Second)))
			free = at
		}
		at = at.Add(i.Delay)
		if i.Jitter > 0 {
			at = at.Add(rand.N(i.Jitter))
		}
		if at.Before(last) {
			at = last
		}
		select {
		case queue <- packet{slices.Clone(buf[:k]), at}:
			last = at
		default: // it is full
		}
	}
}

func (r *relay) send(fd int, queue <-chan packet) {
	for p := range queue {
		if wait := time.Until(p.at); wait > 0 {
			time.Sleep(wait)
		}
		for {
			_, err := unix.Write(fd, p.data)
			if err == unix.ENOBUFS || err == unix.EAGAIN {
				time.Sleep(time.Millisecond)
				continue
			}
			break // one that the link refuses is lost
		}
	}
}

// apart reports whether a frame is from one group of a partition to another.
func (r *relay) apart(frame []byte) bool {
	groups := r.groups.Load()
	if groups == nil || len(*groups) == 0 {
		return false
	}
	from, to, ok := addresses(frame)
	if !ok {
		return false
	}
	a, is := (*groups)[from.String()]
	b, too := (*groups)[to.String()]
	return is && too && a != b
}

// addresses returns who a frame is from and for, of IP and of ARP.
func addresses(frame []byte) (from, to netip.Addr, ok bool) {
	if len(frame) < 14 {
		return from, to, false
	}
	kind, body := uint16(frame[12])<<8|uint16(frame[13]), frame[14:]
	switch {
	case kind == unix.ETH_P_IP && len(body) >= 20:
		return netip.AddrFrom4([4]byte(body[12:16])), netip.AddrFrom4([4]byte(body[16:20])), true
	case kind == unix.ETH_P_ARP && len(body) >= 28:
		return netip.AddrFrom4([4]byte(body[14:18])), netip.AddrFrom4([4]byte(body[24:28])), true
	case kind == unix.ETH_P_IPV6 && len(body) >= 40:
		return netip.AddrFrom16([16]byte(body[8:24])), netip.AddrFrom16([16]byte(body[24:40])), true
	}
	return from, to, false
}
