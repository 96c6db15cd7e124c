package near

import "testing"

func TestName(t *testing.T) {
	names := []string{"a", "b", "e0", "web", "host", "addresses"}
	for word, want := range map[string]string{
		"": "", "c": "", "x": "", "bb": "b", "we": "web", "ee": "e0", "e1": "e0", "xy": "", "WEB": "web", "wbe": "web", "hots": "host", "adresses": "addresses", "address": "addresses", "routes": "",
	} {
		if got := Name(word, names); got != want {
			t.Errorf("%q: %q, want %q", word, got, want)
		}
	}
}
