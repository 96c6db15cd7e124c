package netfile

import (
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/goccy/go-yaml/ast"

	"github.com/seed59451c2b/osl"
)

// Programs that change the network of where they run, and nothing else.
var netPrograms = []string{"ip", "bridge", "tc", "ethtool", "brctl", "ifconfig", "route", "arp", "nft", "iptables", "ip6tables",
	"iptables-nft", "iptables-legacy", "ipset", "conntrack", "ping", "ping6", "arping", "sleep", "true"}

var (
	shells    = []string{"sh", "bash", "ash", "dash"}
	reserved  = []string{"for", "while", "until", "if", "case", "do", "done", "then", "fi", "function", "{", "}", "!", "exec", "eval", "set", "export", "cd"}
	toNowhere = pattern(`\s*(?:[12&]?>>?\s*/dev/null|2>&1)`)
	toSetting = pattern(`^echo\s+(?:-n\s+)?["']?([^"'>$]*?)["']?\s*>\s*/proc/sys/(net/[^\s;&|]+)$`)
)

// line is a command of a node.
type line struct {
	at   ast.Node
	text string
}

// runAll takes the commands of a node in, and leaves those to be run as which osl has no sandbox.
func (b *clabBox) runAll(lines []line) {
	if b.check() != nil { // by what else the file says of the node
		for _, l := range lines {
			b.run(l.at, l.text)
		}
		return
	}
	b.runSome(lines)
}

// runSome looks at what the lines say together, which may be possible where a part of it is not;
// where it is not, at each half of them.
func (b *clabBox) runSome(lines []line) {
	before, wait := b.copied(), slices.Clone(b.wait)
	commands, notes := len(b.d.file.Commands), slices.Clone(b.d.file.Notes)
	for _, l := range lines {
		b.run(l.at, l.text)
	}
	if b.check() == nil {
		return
	}
	b.spec, b.wait, b.d.file.Commands, b.d.file.Notes = before, wait, b.d.file.Commands[:commands], notes
	if len(lines) == 1 {
		b.each = true
		b.run(lines[0].at, lines[0].text)
		b.each = false
		return
	}
	b.runSome(lines[:len(lines)/2])
	b.runSome(lines[len(lines)/2:])
}

// run takes a command in: as what it means for the network, or else as one to be run.
func (b *clabBox) run(n ast.Node, text string) {
	b.line, b.at = n, b.d.place(n)
	text = strings.TrimSpace(text)
	if text == "" {
		return
	}
	if words, ok := words(text); ok {
		words = unwrapped(words)
		if len(words) == 3 && slices.Contains(shells, path.Base(words[0])) && (words[1] == "-c" || words[1] == "-lc") {
			text = strings.TrimSpace(words[2])
		}
	}
	parts, ok := pieces(text)
	if !ok {
		b.later(Command{Args: []string{"sh", "-c", text}, Files: true})
		return
	}
	for _, p := range parts {
		if m := toSetting().FindStringSubmatch(p.text); m != nil {
			if b.takes(func() bool { b.sysctl(n, m[2], strings.TrimSpace(m[1])); return true }) {
				continue
			}
			b.later(Command{Args: []string{"sh", "-c", p.text}, Files: true, MayFail: p.mayFail})
			continue
		}
		words, ok := words(toNowhere().ReplaceAllString(p.text, " "))
		if !ok {
			b.later(Command{Args: []string{"sh", "-c", p.text}, Files: true, MayFail: p.mayFail})
			continue
		}
		if words = unwrapped(words); len(words) > 0 && !b.takes(func() bool { return b.means(words) }) {
			b.later(Command{Args: words, Files: !onlyNetwork(words), MayFail: p.mayFail})
		}
	}
}

// takes takes a line in, by read, else it is to be run: where each is checked also one as which
// osl has no sandbox, and all is as before then.
func (b *clabBox) takes(read func() bool) bool {
	if !b.each {
		return read()
	}
	before, wait, notes := b.copied(), slices.Clone(b.wait), slices.Clone(b.d.file.Notes)
	if read() && b.check() == nil {
		return true
	}
	b.spec, b.wait, b.d.file.Notes = before, wait, notes
	return false
}

// check returns why osl has no sandbox as the node is now.
func (b *clabBox) check() error {
	s := b.spec
	for _, r := range b.wait {
		s.Routes = append(slices.Clip(s.Routes), r.spec)
	}
	s.Interfaces = slices.Clone(s.Interfaces)
	for i := range s.Interfaces {
		s.Interfaces[i].Segment = "" // which the topology has, beside this node
	}
	return osl.Network{Sandboxes: []osl.Spec{s}}.Validate()
}

// copied returns what the sandbox is, for when a line that changed some of it is not taken.
func (b *clabBox) copied() osl.Spec {
	s := b.spec
	s.Interfaces, s.Sysctls = slices.Clone(s.Interfaces), maps.Clone(s.Sysctls)
	for i := range s.Interfaces {
		f := &s.Interfaces[i]
		f.AddressOptions = maps.Clone(f.AddressOptions)
		if f.Bridge != nil {
			x := *f.Bridge
			x.VLANs, f.Bridge = slices.Clone(x.VLANs), &x
		}
		if f.BridgePort != nil {
			x := *f.BridgePort
			x.VLANs, f.BridgePort = slices.Clone(x.VLANs), &x
		}
	}
	return s
}

func (b *clabBox) later(c Command) {
	c.Sandbox, c.Place = b.spec.Name, b.at
	b.d.file.Commands = append(b.d.file.Commands, c)
}

// onlyNetwork reports whether a command changes nothing but the network.
func onlyNetwork(words []string) bool {
	name := path.Base(words[0])
	if name == "sysctl" {
		return !slices.ContainsFunc(words[1:], func(w string) bool {
			return !strings.HasPrefix(w, "-") && !strings.HasPrefix(w, "net.") && !strings.HasPrefix(w, "net/") || w == "-p" || w == "--system"
		})
	}
	// ip has commands that reach out of the network: netns, and those that read a file.
	return slices.Contains(netPrograms, name) && (name != "ip" || !slices.ContainsFunc(words, func(w string) bool {
		return w == "netns" || strings.HasPrefix(w, "-b") || strings.HasPrefix(w, "-n")
	}))
}

// unwrapped takes away what only says how a command is run.
func unwrapped(words []string) []string {
	for len(words) > 0 && (words[0] == "sudo" || words[0] == "command") {
		words = words[1:]
	}
	return words
}

// piece is one of several commands.
type piece struct {
	text    string
	mayFail bool
}

// pieces splits what a shell is given into plain commands; not ok where it is more
// than that.
func pieces(text string) (list []piece, ok bool) {
	var quote rune
	start, escaped := 0, false
	or := false
	cut := func(end, next int, then string) {
		p := strings.TrimSpace(text[start:end])
		start = next
		switch {
		case or && (p == "true" || p == ":"):
			list[len(list)-1].mayFail = true
		case or:
			ok = false
		case p != "":
			list = append(list, piece{text: p})
		}
		or = then == "||" && len(list) > 0
	}
	ok = true
	for i, r := range text {
		switch {
		case i < start:
		case escaped:
			escaped = false
		case r == '\\' && quote != '\'':
			escaped = true
		case quote != 0:
			if r == quote {
				quote = 0
			}
		case r == '\'' || r == '"':
			quote = r
		case strings.HasPrefix(text[i:], "&&"), strings.HasPrefix(text[i:], "||"):
			cut(i, i+2, text[i:i+2])
		case r == ';' || r == '\n':
			cut(i, i+1, "")
		}
	}
	if quote != 0 {
		return nil, false
	}
	cut(len(text), len(text), "")
	for _, p := range list {
		first, _, _ := strings.Cut(p.text, " ")
		if slices.Contains(reserved, first) || strings.Contains(first, "=") {
			return nil, false
		}
	}
	return list, ok
}

// words splits a plain command as a shell does; not ok where a shell would do more
// than that.
func words(text string) (list []string, ok bool) {
	var word strings.Builder
	var quote rune
	inWord, escaped := false, false
	for _, r := range text {
		switch {
		case escaped:
			word.WriteRune(r)
			escaped = false
		case r == '\\' && quote != '\'':
			escaped, inWord = true, true
		case quote != 0 && r == quote:
			quote = 0
		case quote == '"' && (r == '$' || r == '`'):
			// What is in quotes behind "sh -c" is the shell's, which is asked then.
			word.WriteRune(r)
			if len(list) == 0 || list[len(list)-1] != "-c" && list[len(list)-1] != "-lc" {
				return nil, false
			}
		case quote != 0:
			word.WriteRune(r)
		case r == '\'' || r == '"':
			quote, inWord = r, true
		case r == ' ' || r == '\t' || r == '\n':
			if inWord {
				list = append(list, word.String())
				word.Reset()
				inWord = false
			}
		case r == '#' && !inWord:
			return list, true // a comment
		case strings.ContainsRune("|&;<>()$`*?{}~", r):
			return nil, false
		default:
			word.WriteRune(r)
			inWord = true
		}
	}
	if inWord {
		list = append(list, word.String())
	}
	return list, quote == 0 && !escaped
}
