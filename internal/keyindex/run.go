package keyindex

// A run is what is in memory of a stored run.
type run struct {
	start, end uint64
	filter     *filter // nil if it is not in memory, or the kind has none
	damaged    error   // not nil: there is a filter that cannot be read
}

func (r run) length() uint64 { return r.end - r.start }

// isLoaded reports whether the filter was read, or cannot be.
func (r run) isLoaded() bool { return r.filter != nil || r.damaged != nil }

func sameRun(a, b run) bool { return a.start == b.start && a.end == b.end }

// A pair is a key and, in its last 24 bits, the entry it belongs to, counted
// from the run's start.
type pair uint64

const offsetBits = 64 - keyBits

func newPair(key, offset uint64) pair { return pair(key<<offsetBits | offset) }

func (p pair) key() uint64    { return uint64(p) >> offsetBits }
func (p pair) offset() uint64 { return uint64(p) & (1<<offsetBits - 1) }
