package main

import (
	"bytes"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// image is an initramfs in the making: a cpio archive of the form "newc", as
// Documentation/driver-api/early-userspace/buffer-format.rst has it. All files
// are root's.
type image struct {
	w     io.Writer
	n     int             // bytes written, for the padding
	inode int             // the last number given
	made  map[string]bool // what is in it
	err   error           // the first failure; what comes after does nothing
}

func newImage(w io.Writer) *image { return &image{w: w, made: map[string]bool{".": true}} }

// file adds a file, with the directories above it.
func (i *image) file(name string, content []byte, perm fs.FileMode) {
	name = strings.TrimPrefix(filepath.Clean(name), "/")
	i.dir(filepath.Dir(name))
	if !i.made[name] {
		i.made[name] = true
		i.entry(name, 0o100000|uint32(perm.Perm()), content)
	}
}

// dir adds a directory, with those above it.
func (i *image) dir(name string) {
	name = strings.TrimPrefix(filepath.Clean(name), "/")
	if name != "" && !i.made[name] {
		i.made[name] = true
		i.dir(filepath.Dir(name))
		i.entry(name, 0o040755, nil)
	}
}

// copy adds the file at from.
func (i *image) copy(name, from string) {
	info, err := os.Stat(from)
	if err != nil {
		i.fail(err)
		return
	}
	b, err := os.ReadFile(from)
	i.fail(err)
	i.file(name, b, info.Mode())
}

// tree adds the files below from which wanted accepts by their path there.
func (i *image) tree(to, from string, wanted func(path string, d fs.DirEntry) bool) {
	i.fail(filepath.WalkDir(from, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, p)
		switch {
		case err != nil:
			return err
		case rel == ".":
		case !wanted(rel, d) && d.IsDir():
			return fs.SkipDir
		case !wanted(rel, d):
		case d.IsDir():
			i.dir(filepath.Join(to, rel))
		case d.Type().IsRegular():
			i.copy(filepath.Join(to, rel), p)
		}
		return nil
	}))
}

// program adds a program of this machine with the libraries that it needs; one that is
// named by its path stays there.
func (i *image) program(name string) {
	path, err := exec.LookPath(name)
	if err != nil {
		i.fail(err)
		return
	}
	to := name
	if !filepath.IsAbs(name) {
		to = "/usr/bin/" + name
	}
	i.binary(to, path)
}

// binary adds the program at from, with its libraries, as to.
func (i *image) binary(to, from string) {
	i.copy(to, from)
	out, err := exec.Command("ldd", from).CombinedOutput()
	if err != nil {
		if !bytes.Contains(out, []byte("not a dynamic executable")) {
			i.fail(fmt.Errorf("ldd %s: %w: %s", from, err, out))
		}
		return
	}
	for _, word := range strings.Fields(string(out)) {
		if filepath.IsAbs(word) {
			i.copy(word, word)
		}
	}
}

// entry writes one entry. The archive's end is one too.
func (i *image) entry(name string, mode uint32, content []byte) {
	i.inode++
	i.write(fmt.Appendf(nil, "070701%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%s\x00",
		i.inode, mode, 0, 0, 1, 0, len(content), 0, 0, 0, 0, len(name)+1, 0, name))
	i.pad()
	i.write(content)
	i.pad()
}

func (i *image) write(b []byte) {
	if i.err == nil {
		_, i.err = i.w.Write(b)
		i.n += len(b)
	}
}

func (i *image) pad() { i.write(make([]byte, (4-i.n%4)%4)) }

func (i *image) fail(err error) {
	if i.err == nil {
		i.err = err
	}
}

// close ends the archive.
func (i *image) close() error {
	i.entry("TRAILER!!!", 0, nil)
	return i.err
}
