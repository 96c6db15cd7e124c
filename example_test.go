//go:build linux

package osl_test

import (
	"context"
	"fmt"
	"log"
	"net/netip"

	"github.com/seed59451c2b/osl"
)

// A bridge and a web server's sandbox, made in one step. Applying the same
// again changes nothing.
func ExampleApply() {
	ctx := context.Background()
	network := osl.Network{
		Sandboxes: []osl.Spec{
			{Name: "switch", Interfaces: []osl.InterfaceSpec{
				{Name: "br0", Type: "bridge", Addresses: []netip.Prefix{netip.MustParsePrefix("10.10.0.1/24")}},
				{Name: "p1", Master: "br0"},
			}},
			{Name: "web", Gateway: netip.MustParseAddr("10.10.0.1"), Interfaces: []osl.InterfaceSpec{
				{Name: "eth0", Addresses: []netip.Prefix{netip.MustParsePrefix("10.10.0.2/24")}},
			}},
		},
		Links: []osl.Link{{{Sandbox: "web", Interface: "eth0"}, {Sandbox: "switch", Interface: "p1"}}},
	}
	if _, err := osl.Apply(ctx, network); err != nil {
		log.Fatal(err)
	}
	again, err := osl.Apply(ctx, network)
	fmt.Println("again:", len(again), "changes,", err)

	web, err := osl.Open(ctx, "web")
	if err != nil {
		log.Fatal(err)
	}
	defer web.Close()
	status, err := web.Inspect(ctx)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(status.Interfaces[0].Name, status.Interfaces[0].Addresses, "via", status.Gateway)
	if _, err := osl.Down(ctx, network); err != nil {
		log.Fatal(err)
	}
	// Output:
	// again: 0 changes, <nil>
	// eth0 [10.10.0.2/24] via 10.10.0.1
}
