//go:build linux

package osl_test

import (
	"context"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/netip"
	"os"

	"golang.org/x/sys/unix"

	"github.com/seed59451c2b/osl"
)

// two makes two sandboxes with a link, for the examples.
func two(ctx context.Context) (web, client *osl.Namespace, down func()) {
	network := osl.Network{
		Sandboxes: []osl.Spec{
			{Name: "web", Interfaces: []osl.InterfaceSpec{{Name: "eth0", Addresses: []netip.Prefix{netip.MustParsePrefix("10.10.0.1/24")}}}},
			{Name: "client", Interfaces: []osl.InterfaceSpec{{Name: "eth0", Addresses: []netip.Prefix{netip.MustParsePrefix("10.10.0.2/24")}}}},
		},
		Links: []osl.Link{{{Sandbox: "web", Interface: "eth0"}, {Sandbox: "client", Interface: "eth0"}}},
	}
	if _, err := osl.Apply(ctx, network); err != nil {
		log.Fatal(err)
	}
	open := func(name string) *osl.Namespace {
		n, err := osl.Open(ctx, name)
		if err != nil {
			log.Fatal(err)
		}
		return n
	}
	web, client = open("web"), open("client")
	return web, client, func() {
		_ = web.Close()
		_ = client.Close()
		if _, err := osl.Down(ctx, network); err != nil {
			log.Fatal(err)
		}
	}
}

// A web server in one sandbox and its client in another, with net/http as it is.
func ExampleNamespace_DialContext() {
	ctx := context.Background()
	web, client, down := two(ctx)
	defer down()

	listener, err := web.Listen(ctx, "tcp", ":80")
	if err != nil {
		log.Fatal(err)
	}
	server := http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintln(w, "hello from", web.Name())
	})}
	go server.Serve(listener)
	defer server.Close()

	transport := &http.Transport{DialContext: client.DialContext}
	defer transport.CloseIdleConnections()
	response, err := (&http.Client{Transport: transport}).Get("http://10.10.0.1/")
	if err != nil {
		log.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	fmt.Print(string(body), err)
	// Output:
	// hello from web
	// <nil>
}

// A command starts in the sandbox; all fields of the Cmd are the caller's.
func ExampleNamespace_Command() {
	ctx := context.Background()
	web, _, down := two(ctx)
	defer down()

	out, err := web.Command(ctx, "ip", "-4", "-brief", "address", "show", "eth0").Output()
	if err != nil {
		log.Fatal(err)
	}
	var name, state, address string
	fmt.Sscan(string(out), &name, &state, &address)
	fmt.Println(state, address)
	// Output: UP 10.10.0.1/24
}

// Code that opens its own sockets runs in the sandbox, on the caller's thread.
func ExampleNamespace_Do() {
	ctx := context.Background()
	web, _, down := two(ctx)
	defer down()

	err := web.Do(ctx, func(ctx context.Context) error {
		_, err := os.Stat("/proc/thread-self/net/dev")
		return err
	})
	fmt.Println(err)
	// Output: <nil>
}

// A packet socket hears what passes in the sandbox.
func ExampleNamespace_Socket() {
	ctx := context.Background()
	web, client, down := two(ctx)
	defer down()

	const all = 0x0300 // ETH_P_ALL, in the order of the network
	socket, err := web.Socket(unix.AF_PACKET, unix.SOCK_RAW, all)
	if err != nil {
		log.Fatal(err)
	}
	defer socket.Close()
	conn, err := client.DialContext(ctx, "udp", "10.10.0.1:9")
	if err != nil {
		log.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprint(conn, "a datagram")

	frame := make([]byte, 2000)
	n, err := socket.Read(frame)
	fmt.Println(n > 14, err)
	// Output: true <nil>
}

// A link goes down, and who waits for that hears of it.
func ExampleNamespace_SetLink() {
	ctx := context.Background()
	web, client, down := two(ctx)
	defer down()

	off := false
	if err := web.SetLink(ctx, "eth0", osl.LinkChange{Up: &off}); err != nil {
		log.Fatal(err)
	}
	err := client.WaitFor(ctx, func(st *osl.Status) bool { return !st.Interfaces[0].Carrier })
	fmt.Println("no carrier:", err)
	// Output: no carrier: <nil>
}

// What was made call by call is read as a network, which changes nothing.
func ExampleExport() {
	ctx := context.Background()
	_, _, down := two(ctx)
	defer down()

	network, err := osl.Export(ctx, "web", "client")
	if err != nil {
		log.Fatal(err)
	}
	todo, err := osl.Diff(ctx, network)
	fmt.Println(network.Links, len(todo), err)
	// Output: [[web/eth0 client/eth0]] 0 <nil>
}
