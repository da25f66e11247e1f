package keyindex

import "slices"

// A bank holds the words of the filters of up to eight adjacent runs of a length,
// the words for the same keys side by side in one line of a processor's cache.
// All filters together are far larger than that cache, so the time of a lookup is
// that of the memory accesses: a key is looked up in eight runs for the price of one.
//
// A run's column is written before any reader knows of the run's filter, and never
// again, so that reading it needs no lock.
type bank struct {
	rows []row
}

// A row is the words of eight runs, by the run's column.
type row [bankWidth]uint64

const bankWidth = 8

// column returns the position of a run among the eight of its bank.
func column(r run) int { return int(r.start / r.length() % bankWidth) }

// put sets the words of one run.
func (b *bank) put(column int, words []uint64) {
	for i, word := range words {
		b.rows[i][column] = word
	}
}

// lookUp returns for each key which of n adjacent columns, from first on, may have
// it: one bit a run, the lowest for the column first.
//
// It goes through the keys in blocks, and through a block twice. The first pass
// reads one word of each row and does nothing else, so that the processor fetches
// many rows at a time; the second finds them in its cache.
func (b *bank) lookUp(keys []uint64, first, n int) []uint8 {
	const block = 64
	var words [block]uint64
	found := make([]uint8, 0, len(keys))
	for keys := range slices.Chunk(keys, block) {
		for i, key := range keys {
			words[i] = b.row(key)[first]
		}
		for i, key := range keys {
			set := wordBits(key)
			runs := isZero(set &^ words[i])
			for c, word := range b.row(key)[first+1 : first+n] {
				runs |= isZero(set&^word) << (c + 1)
			}
			found = append(found, runs)
		}
	}
	return found
}

func (b *bank) row(key uint64) *row { return &b.rows[choose(key, len(b.rows))] }

// isZero returns 1 for 0 and 0 for all else, without a branch: with one, the
// processor would wait for each word before it fetched the next.
func isZero(v uint64) uint8 { return uint8((v|-v)>>63) ^ 1 }
