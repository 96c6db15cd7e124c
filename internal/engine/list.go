//go:build linux

package engine

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/seed59451c2b/osl/internal/base"
	"github.com/seed59451c2b/osl/internal/fault"
	"github.com/seed59451c2b/osl/internal/plan"
)

// List returns what is in the base path.
func List(ctx context.Context) ([]Entry, error) {
	keys, err := baseKeys(ctx)
	if err != nil {
		return nil, err
	}
	list := make([]Entry, 0, len(keys))
	for _, key := range keys {
		e := Entry{Name: filepath.Base(key), Key: key}
		if err := e.read(ctx); err != nil {
			if errors.Is(err, fs.ErrNotExist) {
				continue // it was destroyed meanwhile
			}
			e.Problem = err.Error()
			if f, ok := err.(*fault.Error); ok { // the key is said beside it
				e.Problem = f.Because(f.Err.Error())
			}
		}
		list = append(list, e)
	}
	return list, nil
}

// baseKeys returns what is in the directory of the keys, in order: sandboxes, and
// whatever else is there.
func baseKeys(ctx context.Context) (keys []string, err error) {
	dir := base.KeysIn(base.PathIn(ctx))
	files, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fail("list the sandboxes", dir, "", err)
	}
	for _, f := range files {
		keys = append(keys, filepath.Join(dir, f.Name()))
	}
	return keys, nil
}

func (e *Entry) read(ctx context.Context) error {
	n, err := openSettled(ctx, e.Key)
	if err != nil {
		return err
	}
	defer n.Close()
	links, err := n.conn.Links(ctx)
	if err != nil {
		return err
	}
	for i := range links {
		if links[i].Index != 1 {
			e.Interfaces++
			continue
		}
		if underWay(&links[i]) {
			e.Problem = "a change of it is under way or was interrupted; osl recover puts it right"
		}
		var t plan.SandboxTag
		t, e.Made = plan.ParseSandboxTag(links[i].Alias)
		e.Network, e.Labels = plan.NetworkOf(&links[i]), t.Labels
	}
	return nil
}
