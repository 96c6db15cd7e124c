package oci

import (
	"encoding/json"
	"errors"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/seed59451c2b/osl"
)

func TestReadState(t *testing.T) {
	for text, want := range map[string]string{
		``:               "no state of a container",
		`[]`:             "no state of a container",
		`{}`:             "no id",
		`{"id": "web"}`:  "no id, or no status",
		`{"id": 7}`:      "no state of a container",
		`{"pid": "one"}`: "no state of a container",
	} {
		if _, _, err := ReadState(strings.NewReader(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", text, err)
		}
	}
	for status, want := range map[string]string{"creating": "false", "created": "false", "stopped": "true", "running": "createRuntime and poststop"} {
		s, _, err := ReadState(strings.NewReader(`{"id": "web", "status": "` + status + `"}`))
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		if ends, err := s.Ends(); err != nil {
			got = err.Error()
		} else {
			got = map[bool]string{true: "true", false: "false"}[ends]
		}
		if !strings.Contains(got, want) {
			t.Errorf("%s: %s", status, got)
		}
	}
}

func TestNetwork(t *testing.T) {
	osl.SetBasePath(t.TempDir())
	defer osl.SetBasePath("")
	s := State{ID: "0123456789abcdef", Bundle: t.TempDir(), PID: 7}
	for _, x := range []struct{ annotation, want string }{
		{`{"interfaces": [{"name": "eth0", "type": "veth", "peer": "host/v-${CONTAINER_SHORT}"}]}`, `host/v-0123456789ab`},
		{`{"name": "other", "labels": {"of": "${CONTAINER_ID}"}}`, `{"of":"0123456789abcdef"}`},
		{`{"interfaces": [{"name": "eth0", "type": "veth", "peer": "db/eth0"}]}`, `db/eth0`},
		{`{"interfaces": 7}`, "error: the annotation org.osl.network:1"},
		{`{`, "error: invalid argument: the annotation org.osl.network is neither"},
		{`none.yaml`, "there is no file"},
	} {
		s.Annotations = map[string]string{Network: x.annotation}
		got := ""
		if w, err := s.network(false); err != nil {
			got = "error: " + err.Error()
		} else {
			b, err := json.Marshal(w.net)
			if err != nil {
				t.Fatal(err)
			}
			got = string(b)
			if len(w.net.Sandboxes) != 1 || w.net.Sandboxes[0].Name != s.ID {
				t.Errorf("%s: it is called %s", x.annotation, got)
			}
		}
		if !strings.Contains(got, x.want) {
			t.Errorf("%s: %s", x.annotation, got)
		}
	}
	s.Annotations[Sandbox] = "a/b"
	if _, err := s.network(false); err == nil || !strings.Contains(err.Error(), "without a slash") {
		t.Errorf("a path: %v", err)
	}
	delete(s.Annotations, Sandbox)
	for _, x := range []string{`"type": "veth", "peer": "host/x"`, `"source": "x"`, `"type": "macvlan", "parent": "host/x"`, `"type": "vxlan", "vni": 7`} {
		s.Annotations[Network] = `{"interfaces": [{"name": "eth0", ` + x + `}]}`
		if _, err := s.network(true); err == nil || !strings.Contains(err.Error(), "no rights over the host") {
			t.Errorf("%s without rights: %v", x, err)
		}
	}
}

func TestWithDevices(t *testing.T) {
	list := []Device{{"c0", "eth0"}, {"c1", "c1"}}
	const before = `{"ociVersion": "1.0.2-dev", "z": {"b": 1, "a": [1, 2]}, "linux": {"x": "<&>", "netDevices": {"old": {"name": "o"}}}, "a": null}`
	const after = `{"ociVersion":"1.3.0","z":{"b":1,"a":[1,2]},"linux":{"x":"<&>","netDevices":{"old":{"name":"o"},"c0":{"name":"eth0"},"c1":{"name":"c1"}}},"a":null}`
	now, err := withDevices([]byte(before), list)
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(strings.Fields(string(now)), ""); got != strings.ReplaceAll(after, " ", "") {
		t.Errorf("%s", got)
	}
	again, err := withDevices(now, list)
	if err != nil || !slices.Equal(again, now) {
		t.Errorf("again: %v, %s", err, again)
	}
	for _, bad := range []string{``, `[]`, `{}`, `{"ociVersion": 7}`, `{"ociVersion": "1.3.0", "linux": []}`, `{"ociVersion": "1.3.0", "linux": {"netDevices": 7}}`, `{"ociVersion": "1.3.0", "linux": {"netDevices": {"name": "x"}}}`, `{"ociVersion": "1.3.0", "linux": {"netDevices": {"x": {"name": 7}}}}`, `{"ociVersion": "1.3.0"`, `{"ociVersion": "1.3.0"} x`,
		`{"ociVersion": "1.3.0", "linux": {"netDevices": {"old": {"name": "eth0"}}}}`, `{"ociVersion": "1.3.0", "linux": {"netDevices": {"eth0": {}}}}`} {
		if got, err := withDevices([]byte(bad), list); err == nil {
			t.Errorf("%s became %s", bad, got)
		}
	}
}

// The file keeps its owner and its mode, and stays where a link in the bundle leads to.
func TestWriteDevices(t *testing.T) {
	dir, bundle := t.TempDir(), t.TempDir()
	path := Config(dir)
	if err := os.WriteFile(path, []byte(`{"ociVersion": "1.0.2"}`), 0o640); err != nil {
		t.Fatal(err)
	}
	uid := os.Geteuid()
	if uid == 0 {
		uid = 65534
		if err := os.Chown(path, uid, uid); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(path, Config(bundle)); err != nil {
		t.Fatal(err)
	}
	if changed, err := WriteDevices(bundle, []Device{{"c0", "eth0"}}, true); err != nil || !changed {
		t.Fatal(changed, err)
	}
	text, err := os.ReadFile(path)
	if err != nil || !strings.Contains(string(text), `"c0"`) {
		t.Errorf("%s, %v", text, err)
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if st := info.Sys().(*syscall.Stat_t); int(st.Uid) != uid || info.Mode().Perm() != 0o640 {
		t.Errorf("it is of %d now, with the mode %v", st.Uid, info.Mode())
	}
	if info, err := os.Lstat(Config(bundle)); err != nil || info.Mode()&os.ModeSymlink == 0 {
		t.Errorf("the link is none any more: %v", err)
	}
	for _, d := range []string{dir, bundle} {
		if list, _ := os.ReadDir(d); len(list) != 1 {
			t.Errorf("left in %s: %v", d, list)
		}
	}
}

// Whatever is in the file: no panic, and what comes out can be read, and stays.
func FuzzWithDevices(f *testing.F) {
	f.Add(`{"ociVersion": "1.0.2", "linux": {"netDevices": {"c0": {"name": "x"}}}}`)
	f.Add(`{"ociVersion": "1.3.0", "linux": null, "linux": {"a": [{}]}}`)
	f.Add(`{"ociVersion": "1.0.2", "linux": {"netDevices": {"name": "x"}}}`)
	f.Add(`{"ociVersion": "1.3.0", "LINUX": [], "linux": {"netDevices": {"c0": {"NAME": 7}}}}`)
	f.Fuzz(func(t *testing.T, text string) {
		list := []Device{{"c0", "eth0"}}
		now, err := withDevices([]byte(text), list)
		if err != nil {
			return
		}
		// Unlike a struct's fields, the keys of a map are of one case.
		var config, linux map[string]json.RawMessage
		var devices map[string]map[string]any
		err = errors.Join(json.Unmarshal(now, &config), json.Unmarshal(config["linux"], &linux), json.Unmarshal(linux["netDevices"], &devices))
		if err != nil || devices["c0"]["name"] != "eth0" {
			t.Fatalf("%q became %q: %v", text, now, err)
		}
		again, err := withDevices(now, list)
		if err != nil || string(again) != string(now) {
			t.Fatalf("%q became %q, then %q: %v", text, now, again, err)
		}
	})
}
