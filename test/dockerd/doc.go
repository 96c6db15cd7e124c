// Command dockerd builds docker's daemon, twice: as it is, and with osl in the place of
// the package of that name in it. Its tests run the tests of docker's libnetwork, and one
// script of containers and networks, with both, and compare what comes of it:
//
//	./install && GOWORK=off go test -v .
//
// docker's source is not changed. The package is replaced by the one in shim/osl, which
// hands each call to osl, and the two types that docker's daemon shares with it are osl's
// (shim/types). docker v23 is the last whose package has the interface that osl took over.
package main
