package rtnl

import (
	"net"

	"github.com/seed59451c2b/osl/internal/linux"
)

// ParseLink decodes the payload of an RTM_NEWLINK.
func ParseLink(p []byte) (l Link) {
	l.Inet.DisableIPv6 = true
	if len(p) < linux.SizeofIfInfomsg {
		return l
	}
	l.Index = int(int32(getU32(p[4:])))
	l.Flags = getU32(p[8:])
	l.Options.flags(l.Flags)
	parent := 0
	for t, v := range attrs(p[linux.SizeofIfInfomsg:]) {
		switch t {
		case linux.IFLA_IFNAME:
			l.Name = getStr(v)
		case linux.IFLA_ADDRESS:
			l.MAC = append(net.HardwareAddr(nil), v...)
		case linux.IFLA_OPERSTATE:
			l.Oper = getU8(v) == ifOperUp
		case linux.IFLA_MTU:
			l.MTU = int(getU32(v))
		case iflaMinMTU:
			l.MinMTU = int(getU32(v))
		case iflaMaxMTU:
			l.MaxMTU = int(getU32(v))
		case linux.IFLA_QDISC:
			l.Qdisc = getStr(v)
		case linux.IFLA_TXQLEN:
			l.TxQLen = int(getU32(v))
		case linux.IFLA_IFALIAS:
			l.Alias = getStr(v)
		case linux.IFLA_MASTER:
			l.Master = int(getU32(v))
		case linux.IFLA_LINK:
			parent = int(getU32(v))
		case iflaLinkNetnsid:
			l.ParentNS, l.ParentNSID = true, int32(getU32(v))
		case iflaPropList:
			for t, v := range attrs(v) {
				if t == iflaAltIfname {
					l.AltName = append(l.AltName, getStr(v))
				}
			}
		case linux.IFLA_NUM_TX_QUEUES:
			l.Data.TxQueues = int(getU32(v))
		case linux.IFLA_NUM_RX_QUEUES:
			l.Data.RxQueues = int(getU32(v))
		case linux.IFLA_LINKINFO:
			l.parseInfo(v)
		case linux.IFLA_AF_SPEC:
			l.Inet.parse(v)
			l.addrGenMode(v)
		case linux.IFLA_GROUP, 40, 41, 58, 63, 64:
			l.Options.parse(LinkOptions, t, v)
		}
	}
	// The data of a vxlan has said it. Of a tunnel in another namespace than its own the
	// kernel says else that it lies on itself.
	if l.Parent == 0 && !(parent == l.Index && kinds[l.Kind].tunnel) {
		l.Parent = parent
	}
	return l
}

func (l *Link) addrGenMode(spec []byte) {
	for family, v := range attrs(spec) {
		if family != linux.AF_INET6 {
			continue
		}
		for t, v := range attrs(v) {
			if t == iflaInet6AddrGenMode {
				l.Options.Set(LinkAddrGenMode, uint32(getU8(v)))
			}
		}
	}
}

func (l *Link) parseInfo(b []byte) {
	var data, port []byte
	portOf := ""
	for t, v := range attrs(b) {
		switch t {
		case iflaInfoKind:
			l.Kind = getStr(v)
		case iflaInfoData:
			data = v
		case iflaInfoSlaveKind:
			portOf = getStr(v)
		case iflaInfoSlaveData:
			port = v
		}
	}
	if portOf == "bridge" {
		l.Port = &Options{}
		for t, v := range attrs(port) {
			l.Port.parse(PortOptions, t, v)
		}
	}
	if parse := kinds[l.Kind].parse; parse != nil {
		for t, v := range attrs(data) {
			parse(l, t, v)
		}
	}
}

func (i *Inet) parse(b []byte) {
	for family, spec := range attrs(b) {
		for t, v := range attrs(spec) {
			at := func(n int) uint32 {
				if len(v) < 4*n+4 {
					return 0
				}
				return getU32(v[4*n:])
			}
			switch {
			case family == linux.AF_INET && t == iflaInetConf:
				// The array starts at setting 1.
				i.ARPAnnounce, i.ARPIgnore, i.ARPNotify = at(ipv4ARPAnnounce-1), at(ipv4ARPIgnore-1), at(ipv4ARPNotify-1)
				i.Promote = at(ipv4Promote - 1)
			case family == linux.AF_INET6 && t == iflaInet6Conf:
				i.HasIPv6State = true
				i.DisableIPv6 = at(ipv6DisableIPv6) != 0
				i.AcceptDAD = int32(at(ipv6AcceptDAD))
				i.NDISCNotify = at(ipv6NDISCNotify) != 0
				i.AcceptRA = int32(at(ipv6AcceptRA))
				i.HearsRouters = at(ipv6AcceptRA) == 2 || at(ipv6AcceptRA) == 1 && at(ipv6Forwarding) == 0
			}
		}
	}
}
