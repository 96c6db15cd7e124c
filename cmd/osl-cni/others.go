//go:build !linux

package main

import (
	"fmt"
	"os"
)

// The skeleton of a plugin does not compile on every system, and there are no network
// namespaces to be called for.
func main() {
	fmt.Fprintln(os.Stderr, "osl-cni needs Linux")
	os.Exit(1)
}
