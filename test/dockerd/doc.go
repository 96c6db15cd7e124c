// Command dockerd builds two versions of docker's daemon, each twice: as it is, and with
// osl in the place of the package of that name in it. Its tests run the tests of docker's
// libnetwork, and one script of containers and networks, with both, and compare what comes
// of it:
//
//	./install && GOWORK=off go test -v .
//
// docker's source is not changed: the package is replaced by the one in shim, which hands
// each call to osl. docker v23 is the last whose package has the interface that osl took
// over: that is aliases (shim/v23), and the two types that docker's daemon shares with it
// are osl's. moby v2 has methods of its own (shim/v2, a module, since it requires other
// versions of nearly everything).
package main
