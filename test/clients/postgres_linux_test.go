package clients

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// PostgreSQL, as the distribution has it, started in one sandbox and used with pgx from
// another. It does not run as root: a user namespace in which it is nobody serves as
// well as an account.
func TestPostgres(t *testing.T) {
	t.Parallel()
	bin := func(name string) string {
		paths, _ := filepath.Glob("/usr/lib/postgresql/*/bin/" + name)
		if path, err := exec.LookPath(name); err == nil {
			paths = append(paths, path)
		}
		if len(paths) == 0 {
			t.Skipf("%s is not installed", name)
		}
		return paths[0]
	}
	initdb, postgres := bin("initdb"), bin("postgres")
	_, server, client := pair(t)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	dir := t.TempDir()
	// The way into the sandbox comes first, the user namespace within it after that.
	as := func(name string, args ...string) *exec.Cmd {
		c := server.Command(ctx, "unshare", append([]string{"--user", "--map-user=1000", "--map-group=1000", name}, args...)...)
		c.Dir, c.Stderr = dir, os.Stderr
		return c
	}
	data := filepath.Join(dir, "data")
	if out, err := as(initdb, "-D", data, "-U", "postgres", "-A", "trust", "--no-sync").Output(); err != nil {
		t.Skipf("initdb does not run here: %v\n%s", err, out)
	}
	if err := os.WriteFile(filepath.Join(data, "pg_hba.conf"), []byte("host all all 10.0.0.0/24 trust\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c := as(postgres, "-D", data, "-c", "listen_addresses=10.0.0.1", "-c", "unix_socket_directories=", "-c", "fsync=off")
	c.Cancel = func() error { return c.Process.Signal(os.Interrupt) }
	c.WaitDelay = 20 * time.Second
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { cancel(); _ = c.Wait() }()

	config, err := pgx.ParseConfig("postgres://postgres@10.0.0.1/postgres?sslmode=disable")
	if err != nil {
		t.Fatal(err)
	}
	config.DialFunc = client.DialContext
	var conn *pgx.Conn
	for {
		if conn, err = pgx.ConnectConfig(ctx, config); err == nil {
			break
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
			t.Fatal(err)
		}
	}
	defer conn.Close(context.Background())
	var from string
	if err := conn.QueryRow(ctx, "select host(inet_client_addr())").Scan(&from); err != nil || from != "10.0.0.2" {
		t.Errorf("the server saw %q, %v", from, err)
	}
}
