//go:build linux

package osltest

import "testing"

func TestMain(m *testing.M) { Main(m) }
