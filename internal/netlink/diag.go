//go:build linux

package netlink

import (
	"encoding/binary"
	"os"

	"golang.org/x/sys/unix"
)

// Of linux/sock_diag.h and linux/inet_diag.h.
const (
	sockDiagByFamily = 20
	sockDestroy      = 21
	diagHeader       = 8  // of inet_diag_req_v2, before the socket's identity
	diagAnswer       = 4  // of inet_diag_msg
	diagIdentity     = 48 // inet_diag_sockid
	allStates        = 0xfff
)

// EndSockets ends the sockets of a family and a protocol, TCP or UDP, in the calling
// thread's network namespace, as ss -K does: who waits on one gets ECONNABORTED. It needs
// CAP_NET_ADMIN there, and a kernel with CONFIG_INET_DIAG_DESTROY. To find them the kernel
// goes through those of the whole machine.
func EndSockets(family, protocol byte) error {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_SOCK_DIAG)
	if err != nil {
		return os.NewSyscallError("socket", err)
	}
	defer unix.Close(fd)
	patience := unix.NsecToTimeval(int64(Timeout))
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &patience); err != nil {
		return os.NewSyscallError("setsockopt", err)
	}
	list, err := diagList(fd, family, protocol)
	if err != nil {
		return err
	}
	for _, identity := range list {
		b := diagRequest(sockDestroy, unix.NLM_F_REQUEST, family, protocol)
		copy(b[unix.NLMSG_HDRLEN+diagHeader:], identity)
		_ = unix.Sendto(fd, b, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}) // one that is gone has ended
	}
	return nil
}

func diagRequest(kind, flags uint16, family, protocol byte) []byte {
	b := make([]byte, unix.NLMSG_HDRLEN+diagHeader+diagIdentity)
	binary.NativeEndian.PutUint32(b, uint32(len(b)))
	binary.NativeEndian.PutUint16(b[4:], kind)
	binary.NativeEndian.PutUint16(b[6:], flags)
	b[unix.NLMSG_HDRLEN], b[unix.NLMSG_HDRLEN+1] = family, protocol
	binary.NativeEndian.PutUint32(b[unix.NLMSG_HDRLEN+4:], allStates)
	return b
}

// diagList returns the identities of the sockets of a family and a protocol.
func diagList(fd int, family, protocol byte) (list [][]byte, err error) {
	b := diagRequest(sockDiagByFamily, unix.NLM_F_REQUEST|unix.NLM_F_DUMP, family, protocol)
	if err := unix.Sendto(fd, b, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return nil, err
	}
	buf := make([]byte, 64<<10)
	for {
		n, _, err := unix.Recvfrom(fd, buf, 0)
		if err != nil {
			return nil, err
		}
		for p := buf[:n]; len(p) >= unix.NLMSG_HDRLEN; {
			size := int(binary.NativeEndian.Uint32(p))
			if size < unix.NLMSG_HDRLEN || size > len(p) {
				return nil, unix.EBADMSG
			}
			body := p[unix.NLMSG_HDRLEN:size]
			switch binary.NativeEndian.Uint16(p[4:]) {
			case unix.NLMSG_DONE:
				return list, nil
			case unix.NLMSG_ERROR:
				if len(body) < 4 {
					return nil, unix.EBADMSG
				}
				if errno := -int32(binary.NativeEndian.Uint32(body)); errno != 0 {
					// Of a socket that was to be ended before.
					if len(body) >= 4+6 && binary.NativeEndian.Uint16(body[4+4:]) == sockDestroy {
						break
					}
					return nil, unix.Errno(errno)
				}
			case sockDiagByFamily:
				if len(body) >= diagAnswer+diagIdentity {
					list = append(list, append([]byte(nil), body[diagAnswer:diagAnswer+diagIdentity]...))
				}
			}
			p = p[min(len(p), (size+3)&^3):]
		}
	}
}
