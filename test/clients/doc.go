// Package clients shows that programs of others work in sandboxes as they are: each
// client gets a function of osl, or a listener, and nothing else is changed. It is a
// module of its own, so that their dependencies stay here.
//
//	cd test/clients && GOWORK=off go test ./...
package clients
