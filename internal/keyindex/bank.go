package keyindex

import "slices"

// A bank holds the words of the filters of up to eight adjacent runs of a length,
// the words for the same keys side by side in one line of a processor's cache.
// What a lookup costs is the memory that it touches, as all filters together are
// far larger than that cache; so a key is looked up in eight runs for the price of
// one.
//
// A run's column is written before anybody knows of the run's filter, and not
// again.
type bank struct {
	rows []row
}

// A row is the words of eight runs, by the run's column.
type row [bankWidth]uint64

const bankWidth = 8

// column returns which of the eight runs of its bank a run is.
func column(r run) int { return int(r.start / r.length() % bankWidth) }

// put sets the words of one run.
func (b *bank) put(column int, words []uint64) {
	for i, word := range words {
		b.rows[i][column] = word
	}
}

// lookUp returns for each key which of n runs may have it, a bit a run; the lowest
// is that of the run in the first column.
//
// It takes the keys in blocks, and a block twice: first for one word of each row
// alone. With so little to do in between, the processor fetches many rows at a
// time; and the second time they are in its cache.
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

// isZero returns 1 for 0 and 0 for all else. A branch would have the processor
// wait for each word before it asks for the next.
func isZero(v uint64) uint8 { return uint8((v|-v)>>63) ^ 1 }
