//go:build !linux

package osl

func mayWriteRun() bool { return true }
