// Package engine carries plans out, all of each or nothing, and takes them back. It
// is what package osl's calls do; osl says what they mean.
//
// What a call is about:
//
//	namespace.go  the handle: make, open, close, begin a change of a sandbox
//	sandbox.go adopt.go host.go pool.go list.go join.go
//	              other ways to a handle, to all of them, and into one for good
//	iface.go link.go setlink.go alias.go advertise.go route.go neigh.go bulk.go bulkstands.go
//	              one change each; bulk.go many of a kind, bulkstands.go what of them is there
//	inside.go     the sandbox, for who makes sockets there
//	apply.go prepare.go network.go source.go ask.go pairs.go outlive.go onhost.go validate.go
//	              a whole network: opened, locked, read, planned; onhost.go what it
//	              has on the host; validate.go looks at what is written alone
//	down.go destroy.go leave.go ends.go
//	              a network, or a sandbox, that ends; one that stays and osl leaves;
//	              the other ends of what ends
//	state.go asked.go stands.go held.go watch.go memory.go change.go
//	              what there is, and what was done, for who asks
//
// How a plan is carried out:
//
//	run.go        the executor: the steps in their order, messages together
//	make.go step.go sysctl.go tun.go offload.go generic.go wireguard.go masquerade.go
//	              the steps that are no message of route netlink
//	back.go       the way back after a failure
//	home.go arrive.go between.go
//	              the way of a link to the host, before and after it has moved, and of one
//	              from a sandbox to another
//	journal.go replay.go recover.go
//	              the records of a change, and what a dead process left
//	lock.go key.go parallel.go
//	              locks by key; what is at a key; many at a time
//	fail.go       the error of a step or a call: its sentinel and its hint
//
// values.go and validate.go are what the root is given on every system, and others.go stands for all
// the rest where there is no Linux: a call that is added here is added there.
package engine
