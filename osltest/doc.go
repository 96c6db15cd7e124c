// Package osltest gives a test a network of several hosts on the real kernel: sandboxes
// of package osl, without root, in milliseconds.
//
//	func TestMain(m *testing.M) { osltest.Main(m) }
//
//	func TestClient(t *testing.T) {
//		net := osltest.UpFile(t, "testdata/lab.yaml")
//		listener, err := net.Sandbox("web").Listen(t.Context(), "tcp", ":80")
//		…
//		net.Cut("web", "switch")
//	}
//
// The network is gone with the test, and what the test leaves in it, a process, a thread,
// a socket or another descriptor, fails it. When a test fails its log has what each
// sandbox holds and the last packets of each, and all packets that were kept are in a
// pcapng file, below the directory of the environment variable OSLTEST_ARTIFACTS or of
// the flag -artifacts.
//
// It is for Linux; a test that uses it is in a file for Linux.
package osltest
