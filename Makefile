# The long forms of what CI runs for minutes. Each says what it found.

.PHONY: test faults kills model soak fuzz clients peer kernel-test features bench

test:
	go test -timeout 2h ./... ./test/...

# Every exchange with the kernel fails, in every way (an hour at most).
faults:
	go test ./internal/engine -run TestFaults -faults.all -v -timeout 90m

# Every system call of every operation fails, or the process is killed there.
kills:
	go test ./internal/engine -run TestKills -kills.all -v -timeout 90m

# Random sequences of calls against a model.
model:
	cd test && go test -run TestModel -v -timeout 60m -rapid.checks=200 -rapid.steps=60 .

# 10,000 lives of sandboxes, one in ten with a failure.
soak:
	cd test && go test -run TestSoak -v -timeout 90m -soak.cycles=10000 .

# Ten minutes for each fuzz target.
fuzz:
	.ci/fuzz 10m

# The runtimes of containers that use osl, as root: installs what is missing.
clients:
	test/cni/clients/install all
	cd test/cni && GOWORK=off go test -v -timeout 120m ./clients -kills 200
	test/oci/install
	cd test/oci && GOWORK=off go test -v -timeout 30m -kills 100 ./...
	test/dockerd/install
	cd test/dockerd/shim/v2 && GOWORK=off go test -v ./...
	cd test/dockerd && GOWORK=off go test -v -timeout 120m .

# The same behaviours, asked of moby's package.
peer:
	cd test/peer && GOWORK=off go test -v ./...

# The tests on Debian's kernels in a virtual machine, with network cards.
kernel-test:
	go run ./test/kernel -kernel 6.1
	go run ./test/kernel -kernel 6.12

# Which feature works on which kernel: docs/kernels.md.
features:
	go run ./test/kernel -features write

# Beside the kernel's own time, moby's package and ip; as root.
bench:
	go run -C bench . -growth -calls -out ../docs/performance
