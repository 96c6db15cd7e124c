// Command cni runs the test suites of the reference CNI plugins against them and
// against osl-cni, and prints the counts side by side:
//
//	go run ./test/cni
//
// The suites call a plugin's functions within their own process. Here these functions
// run osl-cni instead, in the network namespace of the thread that calls them: the
// suites are built from a copy of the plugins' module in which cmdAdd, cmdDel,
// cmdCheck and cmdStatus are others. Nothing else of them is changed.
//
// It needs root, and the go command for what is not in its cache yet.
package main
