package plan

import (
	"fmt"
	"math/rand/v2"
	"net"
	"net/url"
	"sort"
	"strconv"
	"strings"

	"github.com/seed59451c2b/osl/internal/rtnl"
)

// Origin says where an interface of a sandbox came from.
type Origin byte

const (
	None Origin = 0   // not osl's
	Host Origin = 'h' // moved in from the host
	Made Origin = 'm' // made by osl
	Kept Origin = 'k' // was in the sandbox already
	Far  Origin = 'e' // the host's end of a veth that osl made
)

// prefix begins every alias that osl writes, with the version of its form.
const prefix = "osl1;"

// marksField begins the marks in a tag.
const marksField = ";v="

// MaxAlias is how many bytes the kernel keeps of an alias: IFALIASZ of
// linux/if.h without the closing NUL.
const MaxAlias = 255

// Tag is what the alias of an interface says: all that is needed to put the
// link back, by whoever finds it.
type Tag struct {
	Origin Origin
	Source string // name on the host, or the name it was made under
	// Born is when it was added, in microseconds of Unix time: the order of a
	// sandbox's interfaces. 0 in the tags of versions that did not note it.
	Born int64
	// Note is what the program that added it wants to find again; empty for
	// none.
	Note string
	// Network is the one that a link of the host's was made for, empty for none.
	Network string
	// Pin is of the key of the host's namespace by which osl was asked for it, whose end takes
	// it away; empty for none.
	Pin string
	// Port: osl has made the host's end of a pair a port, which its entry on the host does
	// not say; what others make a port stays one.
	Port bool
	// Entries: osl has put forwarding entries of a bridge at it, which are not looked for
	// else.
	Entries bool
	// What the link had before; of one that osl made only MTU, which is that of
	// a bridge that was given one: it does not follow the ports.
	Index  int
	MAC    net.HardwareAddr
	MTU    int
	TxQLen int
	Up     bool
	Alias  string
	// Was are those settings that osl changed.
	Was rtnl.Options
	// Names mark the alternative names that osl gave it.
	Names []string
	// Asked are the settings that were asked for; not where the link's own alias leaves
	// them no room.
	Asked Asked
	// Marks are of the settings of the kernel that were, and of the offloads; not where there is no room.
	Marks []string
}

// TagOf returns the tag of a link that is taken over.
func TagOf(l *rtnl.Link, o Origin) Tag {
	t := Tag{Origin: o, Source: l.Name, Index: l.Index, MAC: l.MAC, MTU: l.MTU,
		TxQLen: l.TxQLen, Up: l.Up(), Alias: l.Alias}
	if l.Kind == "ipvlan" {
		t.MAC = nil // its parent's, and the kernel refuses to set it
	}
	return t
}

// OnHostFor reports whether the link is one of the host's that osl made for a network.
func (t Tag) OnHostFor(network string) bool {
	return network != "" && t.Network == network && (t.Origin == Made || t.Origin == Far)
}

// String returns the alias. The link's own alias comes last, as it is.
func (t Tag) String() string {
	s := t.text()
	for len(s) > MaxAlias && len(t.Marks) > 0 {
		t.Marks = fewer(t.Marks)
		s = t.text()
	}
	if len(s) > MaxAlias && t.Asked != 0 {
		t.Asked = 0
		s = t.text()
	}
	return s
}

func (t Tag) text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%so=%c;s=%s", prefix, t.Origin, url.QueryEscape(t.Source))
	if t.Born != 0 {
		b.WriteString(";b=" + strconv.FormatInt(t.Born, 36))
	}
	if t.Network != "" {
		b.WriteString(";n=" + url.QueryEscape(t.Network))
	}
	if t.Pin != "" {
		b.WriteString(";k=" + t.Pin)
	}
	if t.Note != "" {
		b.WriteString(";c=" + t.Note)
	}
	if t.Entries {
		b.WriteString(";e=1")
	}
	if t.Port {
		b.WriteString(";p=1")
	}
	if t.Asked != 0 {
		b.WriteString(";z=" + strconv.FormatUint(uint64(t.Asked), 36))
	}
	if len(t.Marks) > 0 {
		b.WriteString(marksField + strings.Join(t.Marks, "."))
	}
	if len(t.Names) > 0 {
		b.WriteString(";y=" + strings.Join(t.Names, "."))
	}
	if t.Origin == Host || t.Origin == Kept {
		fmt.Fprintf(&b, ";i=%d;t=%d;q=%d", t.Index, t.MTU, t.TxQLen)
		if len(t.MAC) > 0 {
			fmt.Fprintf(&b, ";m=%x", []byte(t.MAC))
		}
		if t.Up {
			b.WriteString(";u=1")
		}
		if !t.Was.Empty() {
			b.WriteString(";x=" + optionsTag(&t.Was))
		}
		if t.Alias != "" {
			b.WriteString(";a=" + t.Alias)
		}
	} else if t.MTU != 0 {
		fmt.Fprintf(&b, ";t=%d", t.MTU)
	}
	return b.String()
}

// ParseTag reads an alias; ok is false for one that osl did not write.
func ParseTag(alias string) (t Tag, ok bool) {
	rest, ok := strings.CutPrefix(alias, prefix)
	if !ok {
		return t, false
	}
	for rest != "" {
		var field string
		if own, isAlias := strings.CutPrefix(rest, "a="); isAlias {
			t.Alias = own
			break
		}
		field, rest, _ = strings.Cut(rest, ";")
		k, v, _ := strings.Cut(field, "=")
		if !t.set(k, v) {
			return Tag{}, false
		}
	}
	return t, t.Origin != None
}

func (t *Tag) set(k, v string) bool {
	var err error
	switch k {
	case "o":
		if v != string(Host) && v != string(Made) && v != string(Kept) && v != string(Far) {
			return false
		}
		t.Origin = Origin(v[0])
	case "s":
		t.Source, err = url.QueryUnescape(v)
	case "n":
		t.Network, err = url.QueryUnescape(v)
	case "b":
		t.Born, err = strconv.ParseInt(v, 36, 64)
	case "e":
		t.Entries = v == "1"
	case "p":
		t.Port = v == "1"
	case "k":
		t.Pin = v
	case "c":
		t.Note = v
	case "i":
		t.Index, err = strconv.Atoi(v)
	case "t":
		t.MTU, err = strconv.Atoi(v)
	case "q":
		t.TxQLen, err = strconv.Atoi(v)
	case "y":
		t.Names = strings.Split(v, ".")
	case "v":
		t.Marks = strings.Split(v, ".")
	case "z":
		var asked uint64
		asked, err = strconv.ParseUint(v, 36, 64)
		t.Asked = Asked(asked)
	case "x":
		t.Was, err = parseOptionsTag(v)
	case "u":
		t.Up = v == "1"
	case "m":
		_, err = fmt.Sscanf(v, "%x", (*[]byte)(&t.MAC))
	}
	return err == nil // fields of a later version are passed over
}

// SandboxTag is what the alias of a sandbox's lo says.
type SandboxTag struct {
	UnderWay bool   // the change that makes it, or ends it, is not complete
	Commit   Commit // what completes it, where it is a part of a larger one
	Network  string // that it is of, empty for none
	OnHost   bool   // the network has something on the host
	Labels   map[string]string
	Sysctls  []string // marks of the settings that were asked for; not where there is no room
}

// Commit ties the parts of a change together, which can not be completed in one
// step, so one sandbox leads: while its tag is under way for this change, or it
// has an undo record of it, the change did not happen; from then on it did, and
// who finds another part still marked only clears the mark.
type Commit struct {
	ID     string
	Leader string // key of the leading sandbox; empty in its own tag
}

// NewCommit returns the commit of a new change.
func NewCommit(leader string) Commit {
	return Commit{ID: strconv.FormatUint(uint64(rand.Uint32()), 16), Leader: leader}
}

// For returns the commit that a tag in a sandbox carries.
func (c Commit) For(key string) Commit {
	if key == c.Leader {
		c.Leader = ""
	}
	return c
}

func (c Commit) field() string {
	if c.ID == "" {
		return ""
	}
	return ";c=" + c.ID + "@" + url.QueryEscape(c.Leader)
}

func parseCommit(v string) (c Commit, err error) {
	id, leader, _ := strings.Cut(v, "@")
	c.ID = id
	c.Leader, err = url.QueryUnescape(leader)
	return c, err
}

// Fitting returns the tag without its commit where there is no room for it: a
// part that is found under way ends then, whatever became of its leader.
func (t SandboxTag) Fitting() SandboxTag {
	if len(t.String()) > MaxAlias {
		t.Commit = Commit{}
	}
	return t
}

// String returns the alias.
func (t SandboxTag) String() string {
	s := t.text()
	for len(t.Sysctls) > 0 && len(s) > MaxAlias {
		t.Sysctls = fewer(t.Sysctls)
		s = t.text()
	}
	return s
}

func (t SandboxTag) text() string {
	s := prefix + "o=s"
	if t.UnderWay {
		s += ";w=1" + t.Commit.field()
	}
	if t.Network != "" {
		s += ";n=" + url.QueryEscape(t.Network)
	}
	if t.OnHost {
		s += ";h=1"
	}
	if len(t.Sysctls) > 0 {
		s += marksField + strings.Join(t.Sysctls, ".")
	}
	keys := make([]string, 0, len(t.Labels))
	for k := range t.Labels {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	for _, k := range keys {
		s += ";l=" + url.QueryEscape(k) + ":" + url.QueryEscape(t.Labels[k])
	}
	return s
}

// ParseSandboxTag reads the alias of a lo; ok is false if osl did not make the
// sandbox.
func ParseSandboxTag(alias string) (t SandboxTag, ok bool) {
	rest, ok := strings.CutPrefix(alias, prefix+"o=s")
	if !ok {
		return t, false
	}
	for _, field := range strings.Split(rest, ";") {
		k, v, _ := strings.Cut(field, "=")
		switch k {
		case "w":
			t.UnderWay = v == "1"
		case "c":
			c, err := parseCommit(v)
			if err != nil {
				return SandboxTag{}, false
			}
			t.Commit = c
		case "h":
			t.OnHost = v == "1"
		case "v":
			t.Sysctls = strings.Split(v, ".")
		case "n":
			n, err := url.QueryUnescape(v)
			if err != nil {
				return SandboxTag{}, false
			}
			t.Network = n
		case "l":
			name, value, _ := strings.Cut(v, ":")
			name, err := url.QueryUnescape(name)
			if err != nil {
				return SandboxTag{}, false
			}
			if value, err = url.QueryUnescape(value); err != nil {
				return SandboxTag{}, false
			}
			if t.Labels == nil {
				t.Labels = map[string]string{}
			}
			t.Labels[name] = value
		}
	}
	return t, true
}
