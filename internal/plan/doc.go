// Package plan turns what is wanted of sandboxes, and the state they are in,
// into operations that each know their inverse. It makes no system call.
//
//	model.go      what is wanted of a sandbox, and what it holds
//	action.go     the operations: each as a message, and as a command for a person
//	diff.go       Build: the comparison, sandbox by sandbox, link by link
//	link.go change.go takeover.go
//	              a link that is made or moves in, that is there, that is not osl's yet
//	kind.go reshape.go bridge.go pair.go
//	              what is of a type of link
//	replace.go prune.go home.go
//	              what can not stay as it is, what is not wanted, what goes home
//	wireguard.go  what a wireguard link is, without writing a secret down
//	address.go route.go routeattr.go leaving.go gateway.go setting.go
//	              addresses, routes, settings, and what goes with what
//	order.go index.go known.go
//	              which link comes first, indexes, a state by what is asked of it
//	tag.go record.go journal.go pin.go
//	              what is written on the kernel's objects: tags, the records of a
//	              change, and the notes of a namespace's keys and network
package plan
