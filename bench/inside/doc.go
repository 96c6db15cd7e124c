// Package inside measures what a program does in a sandbox beside the same on the host.
//
//	cd bench && GOWORK=off go test -run - -bench . -count 5 ./inside
package inside
