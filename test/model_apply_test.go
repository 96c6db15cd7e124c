//go:build linux

package osltest

func (m *model) apply()         {}
func (m *model) secondProcess() {}
