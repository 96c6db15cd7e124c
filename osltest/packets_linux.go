package osltest

import (
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/seed59451c2b/osl"
)

// socketRoom is what a packet socket has for packets that wait, in bytes.
const socketRoom = 4 << 20

// packetSocket opens a packet socket in a sandbox, of one interface, or of all where
// name is empty. One of a relay does not hear what it sends, and takes and gives frames
// with what is left to do of them.
func packetSocket(s *osl.Namespace, name string, relay bool) (fd int, err error) {
	fd = -1
	err = s.Do(context.Background(), func(context.Context) error {
		if fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0); err != nil {
			return fmt.Errorf("open a packet socket: %w", err)
		}
		index := 0
		if name != "" {
			link, err := net.InterfaceByName(name)
			if err != nil {
				return err
			}
			index = link.Index
		}
		if relay {
			for _, option := range [...]int{unix.PACKET_VNET_HDR, unix.PACKET_IGNORE_OUTGOING} {
				if err := unix.SetsockoptInt(fd, unix.SOL_PACKET, option, 1); err != nil {
					return fmt.Errorf("set up a packet socket: %w", err)
				}
			}
		}
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, socketRoom) // else the usual size
		const all = 0x0300                                                           // ETH_P_ALL, in the order of the network
		return unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: all, Ifindex: index})
	})
	if err != nil && fd >= 0 {
		unix.Close(fd)
	}
	return fd, err
}

// receive waits for a packet. It reports false when stop is readable.
func receive(fd, stop int, buf []byte) (n int, ok bool) {
	for {
		n, err := unix.Read(fd, buf)
		if err == nil {
			return n, true
		}
		p := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}, {Fd: int32(stop), Events: unix.POLLIN}}
		if _, err := unix.Poll(p, -1); err != nil && err != unix.EINTR {
			return 0, false
		}
		if p[1].Revents != 0 {
			return 0, false
		}
	}
}

// Packet is one that passed an interface.
type Packet struct {
	Time      time.Time
	Interface string // its name in the sandbox
	Out       bool   // the sandbox sent it
	Data      []byte // from the Ethernet header on; up to 64 KiB, since the kernel cuts late
}

// ring keeps the last packets.
type ring struct {
	mu   sync.Mutex
	last []Packet
	max  int
	more chan struct{} // closed, and another, with each packet
}

func (r *ring) add(p Packet) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.max > 0 && len(r.last) == r.max {
		r.last = slices.Delete(r.last, 0, r.max/2)
	}
	r.last = append(r.last, p)
	close(r.more)
	r.more = make(chan struct{})
}

func (r *ring) packets() ([]Packet, <-chan struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.last), r.more
}

// recorder keeps the last packets of a sandbox, for the log of a test that fails, or those
// of an interface.
type recorder struct {
	name   string
	dev    string // of one interface, empty for all
	fd     int
	stopFD int
	ring   ring
	done   chan struct{}

	rests   bool // packets may wait in the socket for a while
	reading sync.Mutex
	names   map[int]string // of links, by their numbers
	stopped bool
}

// kept is how many packets of a sandbox a failed test shows in its file; half of them
// at least.
const kept = 2000

func record(t testing.TB, name string, s *osl.Namespace) *recorder {
	t.Helper()
	r, err := startRecorder(name, s, "", kept)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func startRecorder(name string, s *osl.Namespace, dev string, most int) (*recorder, error) {
	r := &recorder{name: name, dev: dev, done: make(chan struct{}), ring: ring{max: most, more: make(chan struct{})}, names: map[int]string{}}
	var err error
	// It is not bound to an interface: that may be another link by and by, of the same name.
	if r.fd, err = packetSocket(s, "", false); err != nil {
		return nil, err
	}
	if r.stopFD, err = unix.Eventfd(0, unix.EFD_CLOEXEC); err != nil {
		unix.Close(r.fd)
		return nil, err
	}
	stamp(r.fd)
	room, err := unix.GetsockoptInt(r.fd, unix.SOL_SOCKET, unix.SO_RCVBUF)
	r.rests = dev == "" && err == nil && room >= socketRoom // less without root
	go r.run()
	return r, nil
}

// stamp makes the kernel note when a packet passed; else it is when it is read.
func stamp(socket int) {
	_ = unix.SetsockoptInt(socket, unix.SOL_SOCKET, unix.SO_TIMESTAMPNS_NEW, 1)
}

// keepTime has the kernel do so as long as the process lives: it patches itself when the
// first socket asks for it, some time later, and again when the last one is closed.
func keepTime() {
	if fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0); err == nil {
		stamp(fd)
	}
}

// Packets that nobody waits for are read some at a time: to wake up for each of them takes
// the processor from who sends them. Where there are many they are read as they come, lest
// the socket's buffer fills.
const (
	rest = 10 // milliseconds
	many = 50
)

func (r *recorder) run() {
	defer close(r.done)
	wait := []unix.PollFd{{Fd: int32(r.fd), Events: unix.POLLIN}, {Fd: int32(r.stopFD), Events: unix.POLLIN}}
	read := 0
	for {
		if _, err := unix.Poll(wait, -1); err != nil && err != unix.EINTR {
			return
		}
		if r.rests && read < many && wait[1].Revents == 0 {
			_, _ = unix.Poll(wait[1:], rest)
		}
		if wait[1].Revents != 0 {
			return
		}
		read = r.read()
	}
}

// packets returns what passed until now.
func (r *recorder) packets() ([]Packet, <-chan struct{}) {
	r.read()
	return r.ring.packets()
}

// frames are what packets are received into: to make one for each sandbox of each test
// takes more time than the packets do.
var frames = sync.Pool{New: func() any { return new([1 << 17]byte) }}

// read takes what came to the socket until now, and returns how many packets that were.
func (r *recorder) read() (count int) {
	now := time.Now()
	r.reading.Lock()
	defer r.reading.Unlock()
	frame := frames.Get().(*[1 << 17]byte)
	defer frames.Put(frame)
	var control [64]byte
	for !r.stopped {
		n, c, _, from, err := unix.Recvmsg(r.fd, frame[:], control[:], 0)
		if err != nil {
			break
		}
		p := Packet{Time: timeOf(control[:c]), Data: slices.Clone(frame[:n])}
		if l, ok := from.(*unix.SockaddrLinklayer); ok {
			p.Out = l.Pkttype == unix.PACKET_OUTGOING
			if r.names[l.Ifindex] == "" {
				r.names[l.Ifindex] = linkName(r.fd, l.Ifindex)
			}
			p.Interface = r.names[l.Ifindex]
		}
		if r.dev == "" || r.dev == p.Interface {
			r.ring.add(p)
		}
		count++
		// What the kernel did not stamp has the time when it is read, and more may be there.
		if p.Time.After(now) && time.Since(now) > 50*time.Millisecond {
			break
		}
	}
	return count
}

// timeOf returns when a packet passed, by what the kernel says beside it.
func timeOf(control []byte) time.Time {
	messages, _ := unix.ParseSocketControlMessage(control)
	for _, m := range messages {
		if m.Header.Level == unix.SOL_SOCKET && m.Header.Type == unix.SO_TIMESTAMPNS_NEW && len(m.Data) >= 16 {
			return time.Unix(int64(binary.NativeEndian.Uint64(m.Data)), int64(binary.NativeEndian.Uint64(m.Data[8:])))
		}
	}
	return time.Now()
}

// linkName returns the name of a link in the socket's namespace.
func linkName(socket, index int) string {
	var r unix.Ifreq
	r.SetUint32(uint32(index))
	if unix.IoctlIfreq(socket, unix.SIOCGIFNAME, &r) != nil { // it is gone
		return fmt.Sprint("if", index)
	}
	return r.Name()
}

// stop ends the recorder; its packets stay.
func (r *recorder) stop() {
	_, _ = unix.Write(r.stopFD, []byte{1, 0, 0, 0, 0, 0, 0, 0})
	<-r.done
	r.reading.Lock()
	defer r.reading.Unlock()
	r.stopped = true
	unix.Close(r.fd)
	unix.Close(r.stopFD)
}

// Capture has the packets that passed an interface since it began.
type Capture struct {
	n    *Network
	at   string
	r    *recorder
	once sync.Once
}

// Capture begins to keep the packets of an interface, "web/eth0", until the test is
// over. Data of a packet is what gopacket.NewPacket takes, with layers.LinkTypeEthernet.
func (n *Network) Capture(at string) *Capture {
	n.t.Helper()
	sandbox, dev := cutEnd(at)
	if dev == "" {
		n.t.Fatalf("%q is no interface: write it as web/eth0", at)
	}
	s := n.Sandbox(sandbox)
	if _, err := s.Interface(n.t.Context(), dev); err != nil {
		n.t.Fatal(n.short(err.Error()))
	}
	r, err := startRecorder(sandbox, s, dev, 0)
	if err != nil {
		n.t.Fatal(err)
	}
	c := &Capture{n: n, at: at, r: r}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.captures = append(n.captures, c)
	return c
}

func cutEnd(at string) (sandbox, dev string) {
	for i := range at {
		if at[i] == '/' {
			return at[:i], at[i+1:]
		}
	}
	return at, ""
}

func (c *Capture) stop() { c.once.Do(func() { ending.Go(c.r.stop) }) }

// Packets returns those that passed until now.
func (c *Capture) Packets() []Packet {
	list, _ := c.r.packets()
	return list
}

// patience is how long Expect waits.
const patience = 5 * time.Second

// Expect returns the first packet for which f holds, since the capture began or within
// five seconds from now; what says which one that is. If there is none the test fails
// and ends.
func (c *Capture) Expect(what string, f func(Packet) bool) Packet {
	c.n.t.Helper()
	end := time.After(patience)
	for {
		list, more := c.r.packets()
		if i := slices.IndexFunc(list, f); i >= 0 {
			return list[i]
		}
		select {
		case <-more:
		case <-end:
			c.n.t.Fatalf("of %d packets at %s none is %s", len(list), c.at, what)
		}
	}
}

// ExpectNone fails the test if f holds for a packet that passed until now.
func (c *Capture) ExpectNone(what string, f func(Packet) bool) {
	c.n.t.Helper()
	for _, p := range c.Packets() {
		if f(p) {
			c.n.t.Errorf("at %s passed %s: %s", c.at, what, p)
			return
		}
	}
}
