//go:build linux

package main

// What osl does in bulk, or beforehand. It has neither form yet: neighbours go
// one by one, and there is no pool. When it has, these are the only lines of
// the benchmark to change.

// bulkNote says in the table what osl's side of the bulk rows measures.
const bulkNote = "osl: a call for each neighbour, for want of one for many"

func (s *oslSandbox) AddNeighbors(list []*neighbor) error {
	for _, n := range list {
		if err := s.AddNeighbor(n); err != nil {
			return err
		}
	}
	return nil
}

func (s *oslSandbox) DeleteNeighbors(list []*neighbor) error {
	for _, n := range list {
		if err := s.DeleteNeighbor(n); err != nil {
			return err
		}
	}
	return nil
}

func (c *oslContender) Fill(int) error                  { return errNotOffered }
func (c *oslContender) HandOut(string) (sandbox, error) { return nil, errNotOffered }
func (c *oslContender) Drain()                          {}
