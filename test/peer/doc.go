// Package peer runs one suite of behaviours against osl and against the package
// of the same origin in moby, side by side. It is a module of its own, so that
// moby's dependencies stay here.
//
//	cd test/peer && GOWORK=off go test -v .
//	cd test/peer && GOWORK=off go test -v -run TestPeer/osl/killed .
//
// Only osl must hold everything; moby's column is a report. Each package is used
// as its own documentation says. What moby leaves to its engine it is given
// where a behaviour says so: "told what was asked for" is the engine's memory.
// The behaviours that begin with nothing but the key, and Destroy alone bringing
// links home, are osl's contract; moby's engine keeps a database, and removes
// each interface first.
package peer
