//go:build linux && !amd64

package engine_test

import (
	"errors"
	"testing"
)

type traced struct {
	calls         []call
	hit           string
	killed        bool
	result, noise string
}

func trace(t *testing.T, _ string, _ *mishap, _ int) traced {
	t.Skip("the tracer knows the registers of amd64 only: nothing can be killed at a system call")
	return traced{}
}

func trapCalls() error { return errors.ErrUnsupported }

func mark() {}
