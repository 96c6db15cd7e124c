package sysctl

import "testing"

// A value is the same in each way in which the kernel takes it.
func TestSame(t *testing.T) {
	for _, x := range []struct {
		want, have string
		same       bool
	}{
		{"1", "1", true}, {"0x20", "32", true}, {"020", "16", true}, {"-1", "-1", true}, {"10", "16", false}, {"1_0", "10", false},
		{"4096 87380\t6291456", "4096\t87380\t6291456", true}, {"4096", "4096\t87380\t6291456", false},
		{"5,1,2,3", "1-3,5", true}, {"1-3", "1-4", false}, {"cubic", "cubic", true}, {"cubic", "reno", false},
		{"2001:db8::1", "2001:0db8:0000:0000:0000:0000:0000:0001", true}, {"", "", true}, {"1", "", false},
	} {
		if Same(x.want, x.have) != x.same {
			t.Errorf("Same(%q, %q) is %v", x.want, x.have, !x.same)
		}
	}
	for in, want := range map[string]string{" true\n": "1", "False": "0", "1\t 2": "1 2", "reno": "reno"} {
		if got := Clean(in); got != want {
			t.Errorf("Clean(%q) is %q", in, got)
		}
	}
}
