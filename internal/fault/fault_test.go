package fault

import "testing"

// The interface is read with the operation where that is about it alone, and before the
// cause where it is about more.
func TestErrorNamesTheInterface(t *testing.T) {
	for want, e := range map[string]Error{
		`osl: add interface "e0" (sandbox /run/netns/a): not found`:                {Op: "add interface", Key: "/run/netns/a", Interface: "e0", Err: ErrNotFound},
		`osl: add addresses to "e0" (sandbox /run/netns/a): not found`:             {Op: "add addresses to", Key: "/run/netns/a", Interface: "e0", Err: ErrNotFound},
		`osl: apply the network (sandbox /run/netns/a): interface "e0": not found`: {Op: "apply the network", Key: "/run/netns/a", Interface: "e0", Err: ErrNotFound},
		`osl: apply the network: interface "e0": not found`:                        {Op: "apply the network", Interface: "e0", Err: ErrNotFound},
		`osl: apply the network (sandbox /run/netns/a): not found`:                 {Op: "apply the network", Key: "/run/netns/a", Err: ErrNotFound},
		`osl: dial: not found`: {Op: "dial", Err: ErrNotFound},
	} {
		if got := e.Error(); got != want {
			t.Errorf("%s\nis to be\n%s", got, want)
		}
	}
}
