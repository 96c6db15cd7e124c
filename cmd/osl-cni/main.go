//go:build linux

// Command osl-cni is a CNI plugin that makes the interfaces of containers with osl:
// all of an attachment or nothing, with the kernel as its only record. Called under
// the name of one of the reference plugins it takes that one's configuration; so also
// as host-local, which gives out the addresses.
//
// docs/cni.md says what it takes.
package main

import (
	"os"
	"path/filepath"

	"github.com/containernetworking/cni/pkg/skel"
	"github.com/containernetworking/cni/pkg/version"

	"github.com/seed59451c2b/osl/internal/netlink"
)

func main() {
	netlink.Brief = true
	funcs := skel.CNIFuncs{Add: add, Del: del, Check: check, GC: collect, Status: status}
	if filepath.Base(os.Args[0]) == hostLocal {
		funcs = hostLocalFuncs
	}
	skel.PluginMainFuncs(funcs, version.All, "CNI plugin osl-cni")
}
