// Package clients has the programs that call CNI plugins, with the configurations of
// docs/cni.md: podman, containerd, crictl, cnitool. The file install installs them.
//
//	cd test/cni && GOWORK=off go test ./clients
package clients
