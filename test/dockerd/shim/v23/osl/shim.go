package osl

import "github.com/seed59451c2b/osl"

type (
	IfaceOption          = osl.IfaceOption
	IfaceOptionSetter    = osl.IfaceOptionSetter
	Info                 = osl.Info
	Interface            = osl.Interface
	NeighOption          = osl.NeighOption
	NeighborOptionSetter = osl.NeighborOptionSetter
	NeighborSearchError  = osl.NeighborSearchError
	Sandbox              = osl.Sandbox
	SandboxType          = osl.SandboxType
)

const (
	SandboxTypeIngress      = osl.SandboxTypeIngress
	SandboxTypeLoadBalancer = osl.SandboxTypeLoadBalancer
)

func GC()                          { osl.GC() }
func GenerateKey(id string) string { return osl.GenerateKey(id) }
func InitOSContext() func()        { return osl.InitOSContext() }
func SetBasePath(path string)      { osl.SetBasePath(path) }

func GetSandboxForExternalKey(basePath, key string) (Sandbox, error) {
	return osl.GetSandboxForExternalKey(basePath, key)
}

func NewSandbox(key string, osCreate, isRestore bool) (Sandbox, error) {
	return osl.NewSandbox(key, osCreate, isRestore)
}
