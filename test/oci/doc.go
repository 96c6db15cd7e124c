// Package oci has the runtimes of containers that use osl, with the configurations of
// docs/oci.md. It is a module of its own; the file install installs them.
//
//	cd test/oci && GOWORK=off go test ./...
package oci
