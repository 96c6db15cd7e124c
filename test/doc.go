// Package osltest holds the conformance tests of osl: they are written from
// its published contract, use only what a program can use, and look at the
// results through another netlink library and through the ip command.
//
// They are a module of their own, so that what they need stays out of the
// go.sum of those who use osl.
package osltest
