// Package osl gives a program private network stacks on Linux, called
// sandboxes: network namespaces, each pinned to a path, its key. Interfaces are
// moved into them or made there, named, addressed, routed and bridged.
//
// It keeps three promises:
//
//   - All or nothing. A change is complete, or it did not happen: a link whose
//     move failed is on the host again, with its name, addresses, hardware
//     address, MTU, alias and state.
//   - The kernel is the record. There is no daemon and no state file. What osl
//     must know again is written on the kernel's objects: the alias of a link,
//     the protocol of an address, route or neighbour. Another process that opens
//     the key sees the same sandbox.
//   - At the kernel's speed. A namespace is entered once, to make it. After
//     that a change is a batch or two of netlink messages.
//
// # Two ways to use it
//
// [Create], [Open], [Apply] and the methods of [Namespace] take a context and
// plain structs with netip addresses; [Apply] brings whole networks of
// sandboxes to what a [Network] says and changes nothing where nothing differs.
// [NewSandbox] and the interfaces [Sandbox], [Info] and [Interface] are the
// contract of container engines; a program that was written against it changes
// its import path. Both work on the same sandboxes.
//
// # Errors
//
// Every error is an [*Error], but for those of sockets and names in a sandbox, which
// are package net's with an [*Error] behind them where the sandbox is at fault, and
// those of functions that a caller gives. errors.Is finds a sentinel of this package in
// it, such as [ErrNameInUse], and the kernel's error number.
//
// # Threads
//
// A caller needs to lock no goroutine to its thread, and may use what this
// package returns from any goroutine. What runs inside a sandbox, such as the
// function given to [Namespace.InvokeFunc], runs on the caller's own thread,
// which is afterwards where it was; the process's main thread is never moved. A
// caller that is on the main thread goes on on another, unless it locked itself
// to that: then the function runs on another thread, and the caller waits.
//
// # Privileges
//
// Changing a sandbox needs CAP_NET_ADMIN over its network namespace and the
// host's, making one also CAP_SYS_ADMIN over the process's user namespace. Both
// are had by root, and by anyone in a user namespace of their own.
//
// # Out of scope
//
// osl keeps no account of addresses beyond the subnets of a [Network], filters no
// packets but to masquerade, runs no DHCP or DNS, and keeps no processes: it is what
// such programs stand on. It does not work off Linux,
// where each call returns [ErrUnsupported].
package osl
