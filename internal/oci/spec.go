package oci

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"github.com/seed59451c2b/osl"
	"github.com/seed59451c2b/osl/internal/near"
	"github.com/seed59451c2b/osl/internal/want"
)

// Device is a link of the host that a runtime is to move into a container.
type Device struct {
	Host string `json:"host"`
	Name string `json:"name"`
}

// Devices takes arguments DEVICE or DEVICE=NAME apart. The devices have to be there,
// and osl has to have made them.
func Devices(ctx context.Context, args []string) ([]Device, error) {
	host, err := osl.NewSandbox(osl.HostName, false, false)
	if err != nil {
		return nil, err
	}
	n := host.(*osl.Namespace)
	defer n.Close()
	st, err := n.Inspect(ctx)
	if err != nil {
		return nil, err
	}
	made := map[string]bool{}
	var names []string
	for _, x := range st.Interfaces {
		if made[x.Name] = x.Origin == "made"; made[x.Name] {
			names = append(names, x.Name)
		}
	}
	var list []Device
	taken := map[string]bool{}
	for _, arg := range args {
		d := Device{Host: arg, Name: arg}
		if before, after, cut := strings.Cut(arg, "="); cut {
			d = Device{before, after}
		}
		is, there := made[d.Host]
		switch {
		case !there:
			return nil, fmt.Errorf("%w: the host has no device %q%s", osl.ErrNotFound, d.Host, near.Hint(d.Host, names))
		case !is:
			return nil, fmt.Errorf("%w: osl did not make the device %q: write it into config.json yourself", osl.ErrInvalid, d.Host)
		case taken["host/"+d.Host]:
			return nil, fmt.Errorf("%w: the device %q is there twice", osl.ErrInvalid, d.Host)
		case taken[d.Name]:
			return nil, fmt.Errorf("%w: two devices are to be called %q", osl.ErrInvalid, d.Name)
		}
		if err := want.ValidName(d.Name); err != nil {
			return nil, err
		}
		if d.Name == "lo" {
			return nil, fmt.Errorf("%w: lo is the container's own", osl.ErrInvalid)
		}
		taken["host/"+d.Host], taken[d.Name] = true, true
		list = append(list, d)
	}
	return list, nil
}

// Config is the path of a bundle's configuration.
func Config(bundle string) string { return filepath.Join(bundle, "config.json") }

// WriteDevices writes devices into linux.netDevices of a bundle's configuration, beside
// those that are there, and reports whether that changed it. The rest stays as it is,
// in its order. Without really nothing is written.
func WriteDevices(bundle string, list []Device, really bool) (changed bool, err error) {
	path, err := filepath.EvalSymlinks(Config(bundle)) // a link stays one
	if err != nil {
		return false, err
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return false, err
	}
	now, err := withDevices(text, list)
	if err != nil {
		return false, fmt.Errorf("%s: %w", path, err)
	}
	if changed = !bytes.Equal(now, text); !changed || !really {
		return changed, nil
	}
	info, err := os.Stat(path)
	if err != nil {
		return false, err
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".config.json-")
	if err != nil {
		return false, err
	}
	_, err = f.Write(now)
	if was, is := info.Sys().(*syscall.Stat_t); is {
		_ = f.Chown(int(was.Uid), int(was.Gid)) // whose runtime reads it; who is not root may not
	}
	err = errors.Join(err, f.Chmod(info.Mode().Perm()), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		_ = os.Remove(f.Name())
	}
	return err == nil, err
}

// withDevices is WriteDevices of a text. One that has them all is returned as it is.
func withDevices(text []byte, list []Device) ([]byte, error) {
	if !json.Valid(text) {
		return nil, fmt.Errorf("%w: it is no JSON", osl.ErrInvalid)
	}
	var config, linux, devices object
	if err := config.parse(text); err != nil {
		return nil, err
	}
	if err := linux.parse(config.get("linux")); err != nil {
		return nil, fmt.Errorf("linux: %w", err)
	}
	if err := devices.parse(linux.get("netDevices")); err != nil {
		return nil, fmt.Errorf("linux.netDevices: %w", err)
	}
	var version string
	if json.Unmarshal(config.get("ociVersion"), &version) != nil || version == "" {
		return nil, fmt.Errorf("%w: it has no ociVersion: it is no configuration of a container", osl.ErrInvalid)
	}
	names := map[string]string{}
	for _, m := range devices {
		name, err := deviceName(m.value)
		if err != nil {
			return nil, fmt.Errorf("linux.netDevices, %q: %w", m.name, err)
		}
		names[m.name] = name
	}
	same := true
	for _, d := range list {
		same = same && names[d.Host] == d.Name
		value, err := json.Marshal(map[string]string{"name": d.Name})
		if err != nil {
			return nil, err
		}
		devices.set(d.Host, value)
		names[d.Host] = d.Name
	}
	taken := map[string]string{}
	for _, m := range devices {
		name := names[m.name]
		if name == "" {
			name = m.name
		}
		if other := taken[name]; other != "" {
			return nil, fmt.Errorf("%w: linux.netDevices: %q and %q are both to be called %q in the container", osl.ErrInvalid, other, m.name, name)
		}
		taken[name] = m.name
	}
	if same && !before13(version) {
		return text, nil
	}
	if before13(version) {
		config.set("ociVersion", []byte(`"1.3.0"`))
	}
	linux.set("netDevices", devices.text())
	config.set("linux", linux.text())
	var b bytes.Buffer
	if err := json.Indent(&b, config.text(), "", "\t"); err != nil {
		return nil, err
	}
	b.WriteByte('\n')
	return b.Bytes(), nil
}

// deviceName is the name inside of one of linux.netDevices; "" is the one outside.
func deviceName(text []byte) (string, error) {
	var device object
	if err := device.parse(text); err != nil {
		return "", err
	}
	value := device.get("name")
	if value == nil {
		return "", nil
	}
	var name string
	if json.Unmarshal(value, &name) != nil {
		return "", fmt.Errorf("%w: its name is no string", osl.ErrInvalid)
	}
	return name, nil
}

// before13 reports whether a version of the specification has no netDevices.
func before13(version string) bool {
	major, rest, _ := strings.Cut(version, ".")
	minor, _, _ := strings.Cut(rest, ".")
	m, err := strconv.Atoi(minor)
	return major == "1" && (err != nil || m < 3) || major == "0"
}

// object is a JSON object in the order of its text.
type object []member

type member struct {
	name  string
	value json.RawMessage
}

// parse reads an object; of nothing, an empty one.
func (o *object) parse(text []byte) error {
	if len(text) == 0 || string(text) == "null" {
		return nil
	}
	d := json.NewDecoder(bytes.NewReader(text))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return fmt.Errorf("%w: it is no JSON object", osl.ErrInvalid)
	}
	for d.More() {
		t, err := d.Token()
		if err != nil {
			return err
		}
		m := member{name: t.(string)} // a name is, within an object
		if err := d.Decode(&m.value); err != nil {
			return err
		}
		o.set(m.name, m.value)
	}
	_, err := d.Token()
	return err
}

func (o object) get(name string) json.RawMessage {
	for _, m := range o {
		if m.name == name {
			return m.value
		}
	}
	return nil
}

func (o *object) set(name string, value json.RawMessage) {
	for i := range *o {
		if (*o)[i].name == name {
			(*o)[i].value = value
			return
		}
	}
	*o = append(*o, member{name, value})
}

func (o object) text() []byte {
	b := []byte{'{'}
	for i, m := range o {
		if i > 0 {
			b = append(b, ',')
		}
		name, _ := json.Marshal(m.name) // a text always can
		b = append(append(append(b, name...), ':'), m.value...)
	}
	return append(b, '}')
}
