// Package linux has the numbers of the kernel's interface that osl's messages are
// made of, by the names of the kernel's headers, on every system: what is planned
// and written there is the same everywhere.
package linux

// Families of addresses.
const (
	AF_BRIDGE = 7
	AF_INET   = 2
	AF_INET6  = 10
	AF_UNSPEC = 0
)

// Types of messages of route netlink.
const (
	RTM_DELADDR     = 21
	RTM_DELLINK     = 17
	RTM_DELLINKPROP = 109
	RTM_DELMDB      = 85
	RTM_DELNEIGH    = 29
	RTM_DELNEXTHOP  = 105
	RTM_DELQDISC    = 37
	RTM_DELROUTE    = 25
	RTM_GETADDR     = 22
	RTM_GETLINK     = 18
	RTM_GETMDB      = 86
	RTM_GETNEIGH    = 30
	RTM_GETNEXTHOP  = 106
	RTM_GETNSID     = 90
	RTM_GETQDISC    = 38
	RTM_GETROUTE    = 26
	RTM_GETRULE     = 34
	RTM_GETSTATS    = 94
	RTM_NEWADDR     = 20
	RTM_NEWLINK     = 16
	RTM_NEWLINKPROP = 108
	RTM_NEWMDB      = 84
	RTM_NEWNEIGH    = 28
	RTM_NEWNEXTHOP  = 104
	RTM_NEWQDISC    = 36
	RTM_DELRULE     = 33
	RTM_NEWRULE     = 32
	RTM_NEWROUTE    = 24
	RTM_SETLINK     = 19
)

// Flags and marks of messages.
const (
	NLA_F_NESTED  = 0x8000
	NLMSG_ERROR   = 2
	NLM_F_APPEND  = 0x800
	NLM_F_CREATE  = 0x400
	NLM_F_EXCL    = 0x200
	NLM_F_REPLACE = 0x100
	RTM_F_CLONED  = 0x200
)

// Sizes of the structures before the attributes.
const (
	SizeofIfAddrmsg = 8
	SizeofIfInfomsg = 16
	SizeofNdMsg     = 12
	SizeofRtMsg     = 12
	SizeofRtNexthop = 8
)

// Links.
const (
	IFF_TAP            = 0x2
	IFF_LOOPBACK       = 0x8
	IFF_LOWER_UP       = 0x10000
	IFF_POINTOPOINT    = 0x10
	IFF_UP             = 0x1
	IFLA_ADDRESS       = 1
	IFLA_AF_SPEC       = 26
	IFLA_EXT_MASK      = 29
	IFLA_GROUP         = 27
	IFLA_IFALIAS       = 20
	IFLA_IFNAME        = 3
	IFLA_LINK          = 5
	IFLA_LINKINFO      = 18
	IFLA_MASTER        = 10
	IFLA_MTU           = 4
	IFLA_NET_NS_FD     = 28
	IFLA_NET_NS_PID    = 19
	IFLA_NUM_RX_QUEUES = 32
	IFLA_NUM_TX_QUEUES = 31
	IFLA_OPERSTATE     = 16
	IFLA_QDISC         = 6
	IFLA_TXQLEN        = 13
	IFLA_VXLAN_GROUP   = 2
	IFLA_VXLAN_GROUP6  = 16
	IFLA_VXLAN_ID      = 1
	IFLA_VXLAN_LINK    = 3
	IFLA_VXLAN_LOCAL   = 4
	IFLA_VXLAN_LOCAL6  = 17
	IFLA_VXLAN_PORT    = 15
)

// Addresses.
const (
	IFA_ADDRESS          = 1
	IFA_BROADCAST        = 4
	IFA_CACHEINFO        = 6
	IFA_FLAGS            = 8
	IFA_F_DADFAILED      = 0x8
	IFA_F_DEPRECATED     = 0x20
	IFA_F_HOMEADDRESS    = 0x10
	IFA_F_NOPREFIXROUTE  = 0x200
	IFA_F_MANAGETEMPADDR = 0x100
	IFA_F_NODAD          = 0x2
	IFA_F_PERMANENT      = 0x80
	IFA_F_SECONDARY      = 0x1
	IFA_LABEL            = 3
	IFA_LOCAL            = 2
	IFA_RT_PRIORITY      = 9
	IFA_TARGET_NETNSID   = 10
)

// Routes.
const (
	RTA_CACHEINFO     = 12
	RTA_DST           = 1
	RTA_ENCAP         = 22
	RTA_ENCAP_TYPE    = 21
	RTA_FLOW          = 11
	RTA_GATEWAY       = 5
	RTA_METRICS       = 8
	RTA_MULTIPATH     = 9
	RTA_NH_ID         = 30
	RTA_OIF           = 4
	RTA_PREF          = 20
	RTA_PREFSRC       = 7
	RTA_PRIORITY      = 6
	RTA_SRC           = 2
	RTA_TABLE         = 15
	RTA_VIA           = 18
	RTAX_ADVMSS       = 8
	RTAX_MTU          = 2
	RTNH_F_ONLINK     = 0x4
	RTN_BLACKHOLE     = 6
	RTN_LOCAL         = 2
	RTN_MULTICAST     = 5
	RTN_PROHIBIT      = 8
	RTN_THROW         = 9
	RTN_UNREACHABLE   = 7
	RTN_UNICAST       = 1
	RTN_UNSPEC        = 0
	RTPROT_BGP        = 186
	RTPROT_BIRD       = 12
	RTPROT_BOOT       = 3
	RTPROT_DHCP       = 16
	RTPROT_KERNEL     = 2
	RTPROT_OSPF       = 188
	RTPROT_RA         = 9
	RTPROT_REDIRECT   = 1
	RTPROT_STATIC     = 4
	RTPROT_UNSPEC     = 0
	RTPROT_ZEBRA      = 11
	RT_SCOPE_HOST     = 254
	RT_SCOPE_LINK     = 253
	RT_SCOPE_NOWHERE  = 255
	RT_SCOPE_SITE     = 200
	RT_SCOPE_UNIVERSE = 0
	RT_TABLE_DEFAULT  = 253
	RT_TABLE_LOCAL    = 255
	RT_TABLE_MAIN     = 254
	RT_TABLE_UNSPEC   = 0
)

// Next hops that are objects of their own. Those of a group that is resilient are not in
// package unix.
const (
	NHA_BLACKHOLE                 = 4
	NHA_ENCAP                     = 8
	NHA_ENCAP_TYPE                = 7
	NHA_FDB                       = 11
	NHA_GATEWAY                   = 6
	NHA_GROUP                     = 2
	NHA_GROUP_TYPE                = 3
	NHA_ID                        = 1
	NHA_OIF                       = 5
	NHA_RES_GROUP                 = 12
	NHA_RES_GROUP_BUCKETS         = 1
	NHA_RES_GROUP_IDLE_TIMER      = 2
	NHA_RES_GROUP_UNBALANCED      = 3 // ..._UNBALANCED_TIMER
	NHA_RES_GROUP_UNBALANCED_TIME = 4
	NEXTHOP_GRP_TYPE_RES          = 1
)

// Rules of policy routing.
const (
	FRA_DST                = 1
	FRA_DPORT_RANGE        = 24
	FRA_FWMASK             = 16
	FRA_GOTO               = 4
	FRA_IP_PROTO           = 22
	FRA_L3MDEV             = 19
	FRA_PROTOCOL           = 21
	FRA_SPORT_RANGE        = 23
	FRA_SUPPRESS_IFGROUP   = 13
	FRA_SUPPRESS_PREFIXLEN = 14
	FR_ACT_BLACKHOLE       = 6
	FR_ACT_GOTO            = 2
	FR_ACT_NOP             = 3
	FR_ACT_PROHIBIT        = 8
	FR_ACT_TO_TBL          = 1
	FR_ACT_UNREACHABLE     = 7
	FRA_FWMARK             = 10
	FRA_IIFNAME            = 3
	FRA_OIFNAME            = 17
	FRA_PRIORITY           = 6
	FRA_SRC                = 2
	FRA_TABLE              = 15
)

// Neighbours.
const (
	NDA_CACHEINFO   = 3
	NDA_DST         = 1
	NDA_IFINDEX     = 8
	NDA_LLADDR      = 2
	NDA_MASTER      = 9
	NDA_PROBES      = 4
	NDA_VLAN        = 5
	NTF_EXT_LEARNED = 0x10
	NTF_MASTER      = 0x4
	NTF_SELF        = 0x2
	NTF_STICKY      = 0x40
	NUD_REACHABLE   = 0x02
	NUD_NOARP       = 0x40
	NUD_PERMANENT   = 0x80
)

// Of nftables.
const (
	NFNL_SUBSYS_NFTABLES        = 0xa
	NFT_MSG_GETSETELEM          = 0xd
	NFTA_DATA_VALUE             = 0x1
	NFTA_DATA_VERDICT           = 0x2
	NFTA_SET_ELEM_DATA          = 0x2
	NFTA_SET_ELEM_KEY           = 0x1
	NFTA_SET_ELEM_LIST_ELEMENTS = 0x3
	NFTA_SET_ELEM_LIST_SET      = 0x2
	NFTA_SET_ELEM_LIST_TABLE    = 0x1
	NFTA_SET_ELEM_USERDATA      = 0x6
	NFTA_VERDICT_CHAIN          = 0x2
)
