//go:build linux

package netns

import (
	"runtime"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// File is a descriptor of a namespace that several hold. It is closed when the last
// of them lets go of it, or nobody knows it any more.
type File struct {
	fd      int
	holders atomic.Int32
}

// NewFile returns a File of fd, which has one holder.
func NewFile(fd int) *File {
	f := &File{fd: fd}
	f.holders.Store(1)
	runtime.SetFinalizer(f, func(f *File) { unix.Close(f.fd) })
	return f
}

// Hold adds a holder. The caller is one, or keeps the last from letting go.
func (f *File) Hold() { f.holders.Add(1) }

// FD returns the descriptor, for a holder.
func (f *File) FD() int { return f.fd }

// Release lets go of the file.
func (f *File) Release() {
	if f.holders.Add(-1) == 0 {
		runtime.SetFinalizer(f, nil)
		unix.Close(f.fd)
	}
}
