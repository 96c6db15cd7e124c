//go:build linux

package main

import (
	"errors"

	"github.com/containernetworking/cni/pkg/types"

	"github.com/seed59451c2b/osl"
)

// codes are CNI's for what osl says is wrong; the first that fits.
var codes = []struct {
	is   error
	code uint
}{
	{osl.ErrTimeout, types.ErrTryAgainLater},
	{osl.ErrInvalid, types.ErrInvalidNetworkConfig},
	{osl.ErrUnsupported, types.ErrUnsupportedField},
}

// fail turns an error of osl into one of CNI.
func fail(err error) error {
	var e *types.Error
	if err == nil || errors.As(err, &e) {
		return err
	}
	code := types.ErrInternal
	for _, c := range codes {
		if errors.Is(err, c.is) {
			code = c.code
			break
		}
	}
	return types.NewError(code, err.Error(), "")
}
