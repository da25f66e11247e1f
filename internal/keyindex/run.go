package keyindex

// A run is the part of a stored run that is in memory. It covers the entries from
// start up to, but not including, end.
type run struct {
	start, end uint64
	filter     *filter // nil if it is not in memory, or the kind has none
	damaged    error   // why the stored filter cannot be used
}

func (r run) length() uint64 { return r.end - r.start }

// isLoaded reports whether the filter was read, or found to be damaged.
func (r run) isLoaded() bool { return r.filter != nil || r.damaged != nil }

// isAligned reports whether the run's start is a multiple of its length.
func (r run) isAligned() bool { return r.start%r.length() == 0 }

// sharesBank reports whether two runs belong to one bank.
func (r run) sharesBank(other run) bool {
	return r.length() == other.length() && r.start/r.length()/bankWidth == other.start/other.length()/bankWidth
}

// inOneBank returns how many runs, from the first on, are in one bank; a run
// without a filter is by itself.
func inOneBank(runs []run) int {
	n := 1
	for n < len(runs) && runs[0].filter != nil && runs[n].filter != nil && runs[n].filter.bank == runs[0].filter.bank {
		n++
	}
	return n
}

func sameRun(a, b run) bool { return a.start == b.start && a.end == b.end }

// A pair is a key and, in its last 24 bits, the entry it belongs to, counted
// from the run's start.
type pair uint64

const offsetBits = 64 - keyBits

func newPair(key, offset uint64) pair { return pair(key<<offsetBits | offset) }

func (p pair) key() uint64    { return uint64(p) >> offsetBits }
func (p pair) offset() uint64 { return uint64(p) & (1<<offsetBits - 1) }
