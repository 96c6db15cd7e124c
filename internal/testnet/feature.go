package testnet

import (
	"errors"
	"testing"
)

// The words by which test/kernel finds in the output of a test what became of a
// feature of the kernel.
const (
	FeatureWorks  = "feature works: "
	FeatureLacks  = "feature lacks: "
	FeatureBroken = "feature broken: "
)

// Feature says which feature of the kernel a test is about, by its name in
// docs/kernels.md, and err is what the first use of it gave: where the kernel lacks
// it, the test is skipped. The test's name begins with TestFeature, so that
//
//	go run ./test/kernel -features
//
// runs it on all kernels.
func Feature(t testing.TB, name string, err error) {
	t.Helper()
	switch {
	case errors.Is(err, errors.ErrUnsupported):
		t.Skip(FeatureLacks + name + ": " + err.Error())
	case err != nil:
		t.Log(FeatureBroken + name)
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(FeatureBroken + name)
		} else {
			t.Log(FeatureWorks + name)
		}
	})
}
