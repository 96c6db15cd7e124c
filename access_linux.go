package osl

import "golang.org/x/sys/unix"

func mayWrite(dir string) bool { return unix.Access(dir, unix.W_OK) == nil }
