package types

import "github.com/seed59451c2b/osl/types"

type (
	StaticRoute         = types.StaticRoute
	InterfaceStatistics = types.InterfaceStatistics
)
