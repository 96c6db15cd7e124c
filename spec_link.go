package osl

import (
	"fmt"
	"log/slog"
	"net/netip"
	"strconv"
	"strings"

	"github.com/seed59451c2b/osl/internal/fault"
	"github.com/seed59451c2b/osl/internal/wgkey"
)

// BridgeSpec says what a bridge should be, beside what each interface has. What is not
// set is as the kernel makes it, or as others made it.
type BridgeSpec struct {
	// VLANFiltering makes the bridge look at the VLANs of its ports. Without it they
	// can be given none.
	VLANFiltering *bool `json:"vlan_filtering,omitempty"`
	// VLANProtocol is 802.1Q, which is the kernel's choice, or 802.1ad.
	VLANProtocol string `json:"vlan_protocol,omitempty"`
	// VLANDefaultPVID is the VLAN that ports are in, untagged, that are told no other:
	// 1 to 4094, or 0 for none. The kernel's choice is 1.
	VLANDefaultPVID *int `json:"vlan_default_pvid,omitempty"`
	// PVID is the VLAN of frames of the bridge itself without a tag; 0 for none. See
	// [BridgePortSpec.PVID].
	PVID *int `json:"pvid,omitempty"`
	// VLANs are those of the bridge itself, as [BridgePortSpec.VLANs] are of a port:
	// the ones in which the sandbox hears and speaks through the bridge.
	VLANs []VLANRange `json:"vlans,omitempty"`
	// STP is whether the bridge speaks the spanning tree protocol, which finds loops.
	STP *bool `json:"stp,omitempty"`
	// Priority in the spanning tree, 0 to 65535: the lowest is the root. The kernel's
	// choice is 32768.
	Priority *int `json:"priority,omitempty"`
	// AgeingTime is how long a hardware address is remembered that was learned, in steps
	// of 100ms, as are the three after it. The kernel's choice is 300s.
	AgeingTime *Duration `json:"ageing_time,omitempty"`
	// ForwardDelay is how long a port listens, and then learns, before it forwards; with
	// STP 2s to 30s. The kernel's choice is 15s.
	ForwardDelay *Duration `json:"forward_delay,omitempty"`
	// HelloTime is the time between two hellos of the spanning tree's root, 1s to 10s.
	// The kernel's choice is 2s.
	HelloTime *Duration `json:"hello_time,omitempty"`
	// MaxAge is how long what the root said holds, 6s to 40s. The kernel's choice is
	// 20s.
	MaxAge *Duration `json:"max_age,omitempty"`
	// MulticastSnooping makes the bridge send multicast only to where it was asked
	// for. The kernel's choice is true.
	MulticastSnooping *bool `json:"mcast_snooping,omitempty"`
	// MulticastQuerier makes the bridge ask who wants which multicast, where no router
	// does.
	MulticastQuerier *bool `json:"mcast_querier,omitempty"`
}

// BridgePortSpec says what a port of a bridge should be. What is not set is as the
// kernel makes it, or as others made it. A port that leaves its bridge loses all of it.
type BridgePortSpec struct {
	// PVID is the VLAN of frames that come in without a tag: 1 to 4094, or 0 for none.
	// The port is in it, and its frames leave without a tag, unless VLANs says
	// otherwise. With PVID or VLANs the port is in these VLANs and in no other; with
	// neither they are left as they are.
	PVID *int `json:"pvid,omitempty"`
	// VLANs are those that the port is in: "20", "30-39", or "40 untagged" where frames
	// leave without a tag.
	VLANs []VLANRange `json:"vlans,omitempty"`
	// Learning is whether the bridge learns hardware addresses from frames that come
	// in. The kernel's choice is true.
	Learning *bool `json:"learning,omitempty"`
	// Flood is whether frames to an address that is not known are sent to the port. The
	// kernel's choice is true, as for the two after it.
	Flood *bool `json:"flood,omitempty"`
	// MulticastFlood is whether multicast is that nobody asked for.
	MulticastFlood *bool `json:"mcast_flood,omitempty"`
	// BroadcastFlood is whether broadcasts are.
	BroadcastFlood *bool `json:"bcast_flood,omitempty"`
	// Isolated ports do not reach each other, only those that are not.
	Isolated *bool `json:"isolated,omitempty"`
	// Hairpin lets a frame leave by the port by which it came.
	Hairpin *bool `json:"hairpin,omitempty"`
	// NeighSuppress keeps ARP and neighbor discovery from the port that the bridge can
	// answer itself.
	NeighSuppress *bool `json:"neigh_suppress,omitempty"`
	// Guard turns the port off where a frame of the spanning tree comes in by it.
	Guard *bool `json:"guard,omitempty"`
	// RootBlock keeps the port from being the way to the root of the spanning tree.
	RootBlock *bool `json:"root_block,omitempty"`
	// FastLeave ends a multicast at the port with the first that leaves it.
	FastLeave *bool `json:"fastleave,omitempty"`
	// Cost of the port in the spanning tree, 1 to 65535. The kernel's choice is by the
	// link's speed.
	Cost *int `json:"cost,omitempty"`
	// Priority of the port in the spanning tree, 0 to 63; the kernel's choice is 32.
	Priority *int `json:"priority,omitempty"`
	// MulticastRouter is whether a multicast router is behind the port: 0 never, 1 as
	// heard, which is the kernel's choice, 2 always, 3 as heard for a while.
	MulticastRouter *int `json:"mcast_router,omitempty"`
}

// VLANRange is a VLAN, or several in a row, of a port of a bridge. As text it is "20",
// "30-39" or "40 untagged".
type VLANRange struct {
	// First and Last are 1 to 4094; they are the same for one.
	First, Last int
	// Untagged VLANs leave without a tag.
	Untagged bool
}

const untagged = " untagged"

// String returns the text form.
func (v VLANRange) String() string {
	s := strconv.Itoa(v.First)
	if v.Last != v.First {
		s += "-" + strconv.Itoa(v.Last)
	}
	if v.Untagged {
		s += untagged
	}
	return s
}

// MarshalText returns the text form.
func (v VLANRange) MarshalText() ([]byte, error) { return []byte(v.String()), nil }

// UnmarshalText parses the text form.
func (v *VLANRange) UnmarshalText(b []byte) (err error) {
	s, isUntagged := strings.CutSuffix(strings.Join(strings.Fields(string(b)), " "), untagged)
	first, last, several := strings.Cut(s, "-")
	r := VLANRange{Untagged: isUntagged}
	if r.First, err = strconv.Atoi(first); err == nil {
		if r.Last = r.First; several {
			r.Last, err = strconv.Atoi(last)
		}
	}
	if err != nil {
		return fault.Invalidf(`%q is no VLAN: write 20, 30-39 or "40 untagged", and as pvid the one of frames without a tag`, b)
	}
	*v = r
	return nil
}

// WireGuardSpec says what an interface of the type wireguard should be: all of it, so that
// peers that are not listed are taken away. Routes to the peers are those of
// [InterfaceSpec.Routes]: AllowedIPs make none. Its UDP socket is in the sandbox.
//
// A private key is never printed, written down or told: not in errors, plans, logs or
// what the kernel keeps of a change. To change one, or a preshared key, osl makes another
// link in the place of the one that is there, and so needs none to go back.
type WireGuardSpec struct {
	// PrivateKey is the key of the interface. In a file it is best a variable:
	// ${NAME}.
	PrivateKey SecretKey `json:"private_key,omitzero"`
	// PrivateKeyFile is a file with it instead, as "wg genkey" writes one; 32 random
	// bytes in base64 are a key. In a network file the path is relative to that, else
	// to the working directory. It is read by each Apply and Diff.
	PrivateKeyFile string `json:"private_key_file,omitempty"`
	// ListenPort is the UDP port on which peers are heard. 0 leaves it; the kernel
	// chooses one when the interface goes up.
	ListenPort int `json:"listen_port,omitempty"`
	// FwMark is the mark of the packets that it sends to its peers, for rules of
	// policy routing; 0 for none.
	FwMark uint32 `json:"fwmark,omitempty"`
	// Peers are those that it speaks with.
	Peers []WireGuardPeerSpec `json:"peers,omitempty"`
}

// WireGuardPeerSpec is a peer of a wireguard.
type WireGuardPeerSpec struct {
	// PublicKey is the key by which the peer is known.
	PublicKey PublicKey `json:"public_key,omitzero"`
	// Interface is the interface of this network that the peer is, instead of
	// PublicKey: its public key is computed from its private one.
	Interface Endpoint `json:"interface,omitzero"`
	// PresharedKey is a secret that both ends have beside their keys; none where it is
	// not given.
	PresharedKey SecretKey `json:"preshared_key,omitzero"`
	// PresharedKeyFile is a file with it instead; see
	// [WireGuardSpec.PrivateKeyFile].
	PresharedKeyFile string `json:"preshared_key_file,omitempty"`
	// Endpoint is the address and UDP port where the peer is. None leaves it: then the
	// peer must speak first. A peer that was heard from elsewhere since is there for
	// the kernel, until Apply says otherwise.
	Endpoint netip.AddrPort `json:"endpoint,omitzero"`
	// AllowedIPs are what is sent to this peer, and what it may send: each is of one
	// peer of the interface.
	AllowedIPs []netip.Prefix `json:"allowed_ips,omitempty"`
	// PersistentKeepalive is after how many seconds without a packet an empty one is
	// sent, so that a NAT in between remembers; 0 for never.
	PersistentKeepalive int `json:"persistent_keepalive,omitempty"`
}

// SecretKey is a private or preshared key of WireGuard; the zero value is none. Whatever
// prints, logs or marshals it says "(hidden)", so that a Spec with one can be shown, and
// not be read back.
type SecretKey struct{ key wgkey.Secret }

// NewSecretKey returns the key of 32 bytes, such as a wgtypes.Key; of zeroes it is none.
func NewSecretKey(b [32]byte) SecretKey { return SecretKey{wgkey.NewSecret(b)} }

// GenerateSecretKey returns a new key, good as a private or preshared one.
func GenerateSecretKey() SecretKey { return SecretKey{wgkey.Generate()} }

// ParseSecretKey reads a key as "wg genkey" writes it: 32 bytes in base64. Else it returns
// ErrInvalid, without the text.
func ParseSecretKey(text string) (SecretKey, error) {
	var k SecretKey
	return k, k.UnmarshalText([]byte(text))
}

// IsZero reports whether there is none.
func (k SecretKey) IsZero() bool { return k.key.IsZero() }

// Public returns the public key of a private one; of none it is none.
func (k SecretKey) Public() PublicKey { return PublicKey(k.key.Public()) }

// String returns "(hidden)", for none "".
func (k SecretKey) String() string { return k.key.String() }

// Format writes what String returns, whatever the verb.
func (k SecretKey) Format(f fmt.State, verb rune) { k.key.Format(f, verb) }

// LogValue returns what String does, for log/slog.
func (k SecretKey) LogValue() slog.Value { return k.key.LogValue() }

// MarshalText returns what String does.
func (k SecretKey) MarshalText() ([]byte, error) { return k.key.MarshalText() }

// UnmarshalText reads a key as [ParseSecretKey] does.
func (k *SecretKey) UnmarshalText(b []byte) (err error) {
	if k.key, err = wgkey.ParseSecret(string(b)); err != nil {
		err = fault.Invalidf("%v", err)
	}
	return err
}

// PublicKey is a public key of WireGuard; the zero value is none.
type PublicKey [32]byte

// String returns the key as "wg pubkey" writes it, for none "".
func (k PublicKey) String() string { return wgkey.Public(k).String() }

// MarshalText returns what String does.
func (k PublicKey) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// UnmarshalText reads what String writes. What is no key is ErrInvalid.
func (k *PublicKey) UnmarshalText(b []byte) error {
	p, err := wgkey.ParsePublic(string(b))
	if err != nil {
		return fault.Invalidf("%v", err)
	}
	*k = PublicKey(p)
	return nil
}
