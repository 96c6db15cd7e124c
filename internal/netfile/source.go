package netfile

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/token"

	"github.com/seed59451c2b/osl/internal/fault"
	"github.com/seed59451c2b/osl/internal/near"
)

// source is one of the files that a network is read from.
type source struct {
	*page
	info  os.FileInfo // nil for a text that is in no file
	body  ast.Node
	given bool // on the command line: its name can be the network's

	aliases map[*ast.AliasNode]ast.Node
	sandbox []layer // what holds for each sandbox, at most one
	iface   []layer // for each interface
}

// page is what is needed of a file to tell where something stands, which may be asked as
// long as the network is of use; the rest of a source is ten times as large.
type page struct {
	name  string
	lines []string
}

// place is where something stands.
type place struct {
	page *page
	pos  token.Position
}

// maxSources bounds how many files a network is read from.
const maxSources = 1000

// loader reads files and what they include.
type loader struct {
	d       *decoder
	open    func(path string) ([]byte, os.FileInfo, error) // nil where there are no files to include
	size    int
	sources []*source // in the order in which they are decoded
	under   []*source // that include one another
}

// readFile reads a regular file of a size that a network file may have.
func readFile(path string) ([]byte, os.FileInfo, error) {
	// Opening a FIFO waits for its other end, perhaps forever.
	info, err := os.Stat(path)
	if err != nil {
		return nil, nil, unread(path, err)
	}
	if info.IsDir() {
		return nil, nil, fmt.Errorf("%s is a directory: give the files in it that are the network", path)
	}
	if !info.Mode().IsRegular() {
		return nil, nil, fmt.Errorf("%s is no regular file; to read from a pipe, give - as the file", path)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, nil, unread(path, err)
	}
	defer f.Close()
	b, err := readAll(path, f)
	return b, info, err
}

// unread says why there is nothing to read at path, and which file may be meant.
func unread(path string, err error) error {
	if !errors.Is(err, fs.ErrNotExist) {
		var e *fs.PathError
		if errors.As(err, &e) {
			e.Op = "read"
		}
		return err
	}
	if to, no := os.Readlink(path); no == nil {
		return fault.Worded(fmt.Sprintf("%s is a symbolic link to %s, which is not there", path, to), err)
	}
	files, _ := filepath.Glob(filepath.Join(filepath.Dir(path), "*.y*ml"))
	for i := range files {
		files[i] = filepath.Base(files[i])
	}
	return fault.Worded(fmt.Sprintf("there is no file %q%s", path, near.Hint(filepath.Base(path), files)), err)
}

// load takes a file in, after those that it includes. One that is there already
// counts once.
func (l *loader) load(name string, text []byte, info os.FileInfo, given bool) error {
	if i := slices.IndexFunc(l.sources, func(s *source) bool { return info != nil && s.info != nil && os.SameFile(s.info, info) }); i >= 0 {
		if given && l.sources[i].given {
			return fmt.Errorf("%s is given twice", name)
		}
		l.sources[i].given = l.sources[i].given || given
		return nil
	}
	if l.size += len(text); l.size > MaxSize || len(l.sources)+len(l.under) >= maxSources {
		return fmt.Errorf("%s and the other files of the network are larger than %d MiB together, or more than %d, which no network is", name, MaxSize>>20, maxSources)
	}
	s := &source{page: &page{name: name}, info: info, given: given, aliases: map[*ast.AliasNode]ast.Node{}}
	if err := s.parse(text); err != nil {
		return err
	}
	ast.Walk(&anchors{s, map[string]ast.Node{}}, s.body)
	l.under = append(l.under, s)
	l.d.src = s
	var includes []ast.Node
	if !isContainerlab(l.d, s.body) {
		includes = l.d.head()
	}
	for _, n := range includes {
		if err := l.include(s, n); err != nil {
			return err
		}
	}
	l.d.src = nil
	l.under = l.under[:len(l.under)-1]
	l.sources = append(l.sources, s)
	return nil
}

// include loads the file that a value in s names.
func (l *loader) include(s *source, n ast.Node) error {
	path, ok := "", false
	if n, ok = l.d.expanded(l.d.resolve(n), false); ok && n != nil {
		path, ok = l.d.scalar(n, "the path of a file")
	}
	if !ok || path == "" {
		return nil // it is among the problems
	}
	at := *n.GetToken().Position
	if l.open == nil {
		return s.problem(at, "include needs a network that is read from a file")
	}
	if !filepath.IsAbs(path) && s.info != nil {
		path = filepath.Join(filepath.Dir(s.name), path)
	}
	text, info, err := l.open(path)
	if err != nil {
		return s.problem(at, "include: %v", err)
	}
	for i, u := range l.under {
		if u.info != nil && os.SameFile(u.info, info) {
			var names []string
			for _, x := range l.under[i:] {
				names = append(names, x.name)
			}
			return s.problem(at, "%s includes itself: %s", path, strings.Join(append(names, path), " includes "))
		}
	}
	if err := l.load(path, text, info, false); err != nil {
		return err
	}
	l.d.src = s
	return nil
}

// anchors finds what each alias stands for: the anchor of that name that stands last
// before it.
type anchors struct {
	s     *source
	named map[string]ast.Node
}

// Visit is called for each node, in the order of the file.
func (a *anchors) Visit(n ast.Node) ast.Visitor {
	switch x := n.(type) {
	case *ast.AnchorNode:
		a.named[x.Name.GetToken().Value] = x.Value
	case *ast.AliasNode:
		a.s.aliases[x] = a.named[x.Value.GetToken().Value]
	}
	return a
}
