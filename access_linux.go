package osl

import (
	"sync"

	"golang.org/x/sys/unix"
)

// mayWriteRun reports whether the process may write where ip netns has its keys.
// It is asked for once: the answer changes with the process's user alone.
var mayWriteRun = sync.OnceValue(func() bool { return unix.Access("/run", unix.W_OK) == nil })
