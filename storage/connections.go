package storage

import "time"

// Connections counts a Store's connections to its database.
type Connections struct {
	InUse, Idle, Max int

	// Waits is how often a connection was wanted while none was free, and Waited how
	// long that has taken together, since the Store was opened.
	Waits  uint64
	Waited time.Duration
}

// Add returns the sum of two counts, for a Store that has connections of several kinds.
func (c Connections) Add(d Connections) Connections {
	return Connections{c.InUse + d.InUse, c.Idle + d.Idle, c.Max + d.Max, c.Waits + d.Waits, c.Waited + d.Waited}
}
