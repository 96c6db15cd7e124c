//go:build linux && (amd64 || arm64)

package inside

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"runtime"
	"sync"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A child is born into the namespace of the thread that starts it, and an exec.Cmd is
// started on whichever thread its owner calls Start. So what is started is a program
// that enters the sandbox and then becomes the command: it keeps the process, with all
// that the owner asked for. To start this program a second time, or nsenter, takes
// longer than most commands; this one is a page, and takes some 100 µs.

// enter is the program's code, for a process that begins with it. It is no function of
// this process.
//
//lint:ignore U1000 enterCode, in assembly, has its address
func enter()

// enterCode returns where that is.
func enterCode() unsafe.Pointer

// enterSize is enough for the code; what comes after it is not run.
const enterSize = 512

// enterer returns the path of the program, in a file that only this process has.
var enterer = sync.OnceValues(func() (string, error) {
	const exec = 0x10 // MFD_EXEC of linux/memfd.h, since 6.3
	fd, err := unix.MemfdCreate("osl-enter", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING|exec)
	if err == unix.EINVAL {
		fd, err = unix.MemfdCreate("osl-enter", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	}
	if err != nil {
		return "", os.NewSyscallError("memfd_create", err)
	}
	image := elf(unsafe.Slice((*byte)(enterCode()), enterSize))
	if _, err = unix.Write(fd, image); err == nil {
		_, err = unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, unix.F_SEAL_WRITE|unix.F_SEAL_SHRINK|unix.F_SEAL_GROW|unix.F_SEAL_SEAL)
	}
	if err == nil {
		return OfProcess(fd)
	}
	unix.Close(fd)
	return "", fmt.Errorf("write the program that enters a sandbox: %w", err)
})

// elf returns a program that is code and nothing else; elf(5).
func elf(code []byte) []byte {
	const headers, at = 64 + 2*56, 0x400000
	machine := map[string]uint16{"amd64": 62, "arm64": 183}[runtime.GOARCH]
	var b bytes.Buffer
	put := func(fields ...any) {
		for _, f := range fields {
			_ = binary.Write(&b, binary.LittleEndian, f) // to memory
		}
	}
	size := uint64(headers + len(code))
	b.WriteString("\x7fELF\x02\x01\x01" + "\x00\x00\x00\x00\x00\x00\x00\x00\x00")
	put(uint16(2), machine, uint32(1), uint64(at+headers), uint64(64), uint64(0), uint32(0),
		uint16(64), uint16(56), uint16(2), uint16(64), uint16(0), uint16(0))
	put(uint32(1), uint32(5), uint64(0), uint64(at), uint64(at), size, size, uint64(0x10000))               // PT_LOAD, to read and run
	put(uint32(0x6474e551), uint32(6), uint64(0), uint64(0), uint64(0), uint64(0), uint64(0), uint64(0x10)) // PT_GNU_STACK, not to run
	b.Write(code)
	return b.Bytes()
}
