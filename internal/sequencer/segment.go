package sequencer

import (
	"math/rand/v2"

	"github.com/stele-log/stele/internal/keyindex"
)

// A segment holds the keys of up to keyindex.RunLength consecutive entries, in a
// hash table of open addresses that is at most half full.
type segment struct {
	start uint64   // the first entry
	keys  []uint64 // by entry, from start on
	slots []uint32 // 1 + the position of a key in keys; 0 is free

	// multiplier is odd and random. Without knowing it, nobody can send events
	// whose keys crowd in one place of the table.
	multiplier uint64
}

const (
	slotBits = 17
	_        = uint(1<<slotBits - 2*keyindex.RunLength) // there are twice as many slots as keys, or it does not compile
)

func newSegment(start uint64) *segment {
	return &segment{
		start:      start,
		keys:       make([]uint64, 0, keyindex.RunLength),
		slots:      make([]uint32, 1<<slotBits),
		multiplier: rand.Uint64() | 1,
	}
}

// probe returns the slot where the search for a key begins.
func (s *segment) probe(key uint64) uint64 { return key * s.multiplier >> (64 - slotBits) }

// next returns the slot where the search goes on.
func (s *segment) next(slot uint64) uint64 { return (slot + 1) % uint64(len(s.slots)) }

// add adds the key of the next entry. There must be room for it.
func (s *segment) add(key uint64) {
	slot := s.probe(key)
	for s.slots[slot] != 0 {
		slot = s.next(slot)
	}
	s.keys = append(s.keys, key)
	s.slots[slot] = uint32(len(s.keys))
}

// find appends the entries that have a key, in order.
func (s *segment) find(found []uint64, key uint64) []uint64 {
	for slot := s.probe(key); s.slots[slot] != 0; slot = s.next(slot) {
		if at := s.slots[slot] - 1; s.keys[at] == key {
			found = append(found, s.start+uint64(at))
		}
	}
	return found
}
