package rtnl

import (
	"encoding/binary"
	"math"
	"time"

	"github.com/seed59451c2b/osl/internal/linux"
)

// Qdisc is the queueing discipline at the root of a link, as far as osl makes one:
// a netem, or a tbf where there is nothing but a rate.
type Qdisc struct {
	Index  int
	Kind   string
	Handle uint32
	Impair Impair
}

// Impair is what a queueing discipline does to the packets that leave by a link.
type Impair struct {
	Delay, Jitter                     time.Duration
	Loss, Duplicate, Reorder, Corrupt uint32 // of 1<<32
	Rate                              uint64 // bytes each second, 0 for no limit
	Limit                             uint32 // of netem in packets
}

// The handles of osl's queueing disciplines: by these they are known. The kernel
// chooses 8001 and above for who gives none, and a person writes small numbers.
const (
	NetemHandle = 0x6f6c << 16 // 6f6c:, "ol"
	TBFHandle   = 0x6f6d << 16
)

// Osls reports whether the discipline is one of osl's.
func (q *Qdisc) Osls() bool {
	return q.Kind == "netem" && q.Handle == NetemHandle || q.Kind == "tbf" && q.Handle == TBFHandle
}

// Numbers of linux/rtnetlink.h and linux/pkt_sched.h.
const (
	sizeofTcMsg = 20
	tcRoot      = 0xffffffff
	tcaKind     = 1
	tcaOptions  = 2

	netemCorr      = 1
	netemReorder   = 3
	netemCorrupt   = 4
	netemRate      = 6
	netemRate64    = 8
	netemLatency64 = 10
	netemJitter64  = 11
	sizeofNetem    = 24 // struct tc_netem_qopt

	tbfParms  = 1
	tbfRate64 = 4
	sizeofTBF = 36 // struct tc_tbf_qopt

	tickShift     = 6 // PSCHED_SHIFT: a tick of the packet scheduler is 64 ns
	linkEthernet  = 1 // TC_LINKLAYER_ETHERNET
	defaultLimit  = 1000
	tbfLatency    = 50 * time.Millisecond
	tbfBurstTime  = 10 * time.Millisecond
	tbfBurstBytes = 16 << 10
)

// TBFMaxMTU is the largest packet that a tbf of osl's lets through at any rate.
const TBFMaxMTU = tbfBurstBytes - 64

// MinRate is the lowest rate in bytes each second.
const MinRate = 1000

// Qdisc returns the discipline that does what i says on a link. lo's packets are
// larger than what a tbf lets through.
func (i Impair) Qdisc(index int) Qdisc {
	q := Qdisc{Index: index, Kind: "netem", Handle: NetemHandle, Impair: i}
	if i == (Impair{Rate: i.Rate}) && index != 1 {
		q.Kind, q.Handle = "tbf", TBFHandle
	} else if i.Limit == 0 {
		q.Impair.Limit = defaultLimit
	}
	return q
}

func tcMsg(index int, handle, parent uint32) buffer {
	b := make(buffer, 4, 256)
	b = binary.NativeEndian.AppendUint32(b, uint32(index))
	b = binary.NativeEndian.AppendUint32(b, handle)
	b = binary.NativeEndian.AppendUint32(b, parent)
	return binary.NativeEndian.AppendUint32(b, 0)
}

// NewQdisc returns the request that puts a discipline at the root of a link that has
// only the kernel's own. It fails with EEXIST where another is there.
func NewQdisc(q Qdisc) Request { return q.request(linux.NLM_F_CREATE | linux.NLM_F_EXCL) }

// ChangeQdisc returns the request that changes a discipline in its place; it fails
// where it is not there.
func ChangeQdisc(q Qdisc) Request { return q.request(0) }

// ReplaceQdisc returns the request that puts a discipline in the place of another, or
// changes the one that is there.
func ReplaceQdisc(q Qdisc) Request { return q.request(linux.NLM_F_CREATE | linux.NLM_F_REPLACE) }

// DelQdisc returns the request that gives a link the kernel's own discipline back.
func DelQdisc(index int, handle uint32) Request {
	return Request{Type: linux.RTM_DELQDISC, Data: tcMsg(index, handle, tcRoot)}
}

// AllQdiscs returns the request that lists the disciplines.
func AllQdiscs() Request { return Request{Type: linux.RTM_GETQDISC, Data: tcMsg(0, 0, 0)} }

func (q Qdisc) request(flags uint16) Request {
	b := tcMsg(q.Index, q.Handle, tcRoot)
	b.str(tcaKind, q.Kind)
	if q.Kind == "tbf" {
		b.nest(tcaOptions, func() { q.Impair.tbf(&b) })
	} else {
		at := len(b)
		b = binary.NativeEndian.AppendUint32(b, 0) // of the attribute, below
		q.Impair.netem(&b)
		binary.NativeEndian.PutUint16(b[at:], uint16(len(b)-at))
		binary.NativeEndian.PutUint16(b[at+2:], tcaOptions)
	}
	return Request{Type: linux.RTM_NEWQDISC, Flags: flags, Data: b}
}

// netem appends struct tc_netem_qopt, and the attributes after it. What is not said
// the kernel would leave as it is when it changes one.
func (i Impair) netem(b *buffer) {
	gap := uint32(0)
	if i.Reorder != 0 {
		gap = 1
	}
	for _, v := range []uint32{ticks(i.Delay), i.Limit, i.Loss, gap, i.Duplicate, ticks(i.Jitter)} {
		*b = binary.NativeEndian.AppendUint32(*b, v)
	}
	b.bytes(netemCorr, make([]byte, 12))
	b.bytes(netemReorder, u32s(i.Reorder, 0))
	b.bytes(netemCorrupt, u32s(i.Corrupt, 0))
	if i.Rate > math.MaxUint32 {
		b.bytes(netemRate64, binary.NativeEndian.AppendUint64(nil, i.Rate))
	}
	b.bytes(netemRate, u32s(uint32(min(i.Rate, math.MaxUint32)), 0, 0, 0))
	b.bytes(netemLatency64, binary.NativeEndian.AppendUint64(nil, uint64(i.Delay)))
	b.bytes(netemJitter64, binary.NativeEndian.AppendUint64(nil, uint64(i.Jitter)))
}

// Burst returns what a tbf of the rate lets through at once, and what waits, in bytes:
// what takes 10 ms, and 16 KiB at least, and beside it what takes 50 ms.
func (i Impair) Burst() (burst, limit uint64) {
	burst = max(i.Rate/uint64(time.Second/tbfBurstTime), tbfBurstBytes)
	return burst, burst + i.Rate/uint64(time.Second/tbfLatency)
}

func (i Impair) tbf(b *buffer) {
	burst, limit := i.Burst()
	// The time that a burst takes; the kernel keeps at most four seconds of it.
	long := min(burst*uint64(time.Second)/max(i.Rate, 1), 4*uint64(time.Second))
	spec := make([]byte, 12) // struct tc_ratespec
	spec[1] = linkEthernet
	binary.NativeEndian.PutUint32(spec[8:], uint32(min(i.Rate, math.MaxUint32)))
	parms := append(spec, make([]byte, 12)...)
	parms = append(parms, u32s(uint32(min(limit, math.MaxUint32)), uint32(long>>tickShift), 0)...)
	b.bytes(tbfParms, parms)
	if i.Rate > math.MaxUint32 {
		b.bytes(tbfRate64, binary.NativeEndian.AppendUint64(nil, i.Rate))
	}
}

func ticks(d time.Duration) uint32 { return uint32(min(uint64(d)>>tickShift, math.MaxUint32)) }

func u32s(list ...uint32) (b []byte) {
	for _, v := range list {
		b = binary.NativeEndian.AppendUint32(b, v)
	}
	return b
}

// ParseQdisc decodes the payload of an RTM_NEWQDISC; ok is false for one that is not
// at the root of a link.
func ParseQdisc(p []byte) (q Qdisc, ok bool) {
	if len(p) < sizeofTcMsg || getU32(p[12:]) != tcRoot {
		return q, false
	}
	q.Index, q.Handle = int(int32(getU32(p[4:]))), getU32(p[8:])
	var options []byte
	for t, v := range attrs(p[sizeofTcMsg:]) {
		switch t {
		case tcaKind:
			q.Kind = getStr(v)
		case tcaOptions:
			options = v
		}
	}
	switch q.Kind {
	case "netem":
		q.Impair.parseNetem(options)
	case "tbf":
		q.Impair.parseTBF(options)
	}
	return q, true
}

func (i *Impair) parseNetem(b []byte) {
	if len(b) < sizeofNetem {
		return
	}
	i.Delay, i.Jitter = time.Duration(getU32(b))<<tickShift, time.Duration(getU32(b[20:]))<<tickShift
	i.Limit, i.Loss, i.Duplicate = getU32(b[4:]), getU32(b[8:]), getU32(b[16:])
	for t, v := range attrs(b[sizeofNetem:]) {
		switch t {
		case netemReorder:
			i.Reorder = getU32(v)
		case netemCorrupt:
			i.Corrupt = getU32(v)
		case netemRate:
			i.Rate = max(i.Rate, uint64(getU32(v)))
		case netemRate64:
			i.Rate = getU64(v)
		case netemLatency64:
			i.Delay = time.Duration(getU64(v))
		case netemJitter64:
			i.Jitter = time.Duration(getU64(v))
		}
	}
}

func (i *Impair) parseTBF(b []byte) {
	for t, v := range attrs(b) {
		switch {
		case t == tbfParms && len(v) >= sizeofTBF:
			i.Rate = max(i.Rate, uint64(getU32(v[8:])))
		case t == tbfRate64:
			i.Rate = getU64(v)
		}
	}
}
