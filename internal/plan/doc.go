// Package plan turns what is wanted of sandboxes, and the state they are in,
// into operations that each know their inverse. It makes no system call.
//
// The way of a plan:
//
//	model.go      what is wanted of a sandbox, and what it holds
//	action.go     the operations: each as a message, and as a command for a person
//	diff.go       Build: the comparison, sandbox by sandbox, link by link
//	link.go change.go takeover.go
//	              a link that is made or moves in, that is there, that is not osl's yet
//	replace.go mac.go exchange.go prune.go home.go between.go carry.go yield.go
//	              what can not stay as it is, what is not wanted, what goes home, and from
//	              one sandbox to another, since it is there once only, or first of all, since it is
//	              in the way
//	order.go index.go known.go knownroute.go
//	              which link comes first, indexes, a state by what is asked of it
//	conflict.go overtaken.go
//	              subnets that would be on two interfaces; routes of others that come first
//	command.go describe.go repeat.go
//	              what a person would type; what a step does, in words; whether it
//	              can be done twice
//
// What is of one thing:
//
//	kind.go kindfamilies.go kindtunnel.go field.go
//	              the types of links, and the fields that make a link of one
//	reshape.go stacked.go follow.go pair.go unlisted.go ipv6.go
//	              a link that takes new values; one on another, and its MTU; one with another end, and
//	              that end where the host lists it no more; the IPv6 of a link, and of lo
//	bridge.go bridging.go vlan.go entries.go
//	              bridges and their ports: options, VLANs, entries
//	wireguard.go  what a wireguard link is, without writing a secret down
//	address.go addroption.go renew.go gateway.go
//	              addresses, those that go and come again, and the gateways of a sandbox
//	route.go routeattr.go leaving.go rule.go rulesway.go nexthop.go
//	              routes, those that go with what leaves, rules of policy routing, and
//	              those that deny a way, next hops that are objects
//	setting.go settings.go forward.go
//	              settings of the kernel, those of the host among them
//	linkoption.go asked.go askedsysctl.go usual.go altname.go offload.go impair.go masquerade.go
//	              what else a link, or a sandbox, is given
//
// What outlives the process, and the way back:
//
//	tag.go record.go recordcode.go journal.go pin.go
//	              what is written on the kernel's objects: tags, the records of a
//	              change, and the notes of a namespace's keys and network
//	wayback.go    routes, on the way back after a failure
package plan
