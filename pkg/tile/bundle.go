package tile

import (
	"encoding/binary"
	"fmt"
)

// AppendEntry appends one entry to an entry bundle: its length as a big-endian
// uint16, then its bytes. It fails if the entry is larger than [MaxEntry].
//
// SPEC: https://c2sp.org/tlog-tiles#log-entries
func AppendEntry(bundle, entry []byte) ([]byte, error) {
	if len(entry) > MaxEntry {
		return bundle, fmt.Errorf("entry of %d bytes: a bundle holds at most %d", len(entry), MaxEntry)
	}
	bundle = binary.BigEndian.AppendUint16(bundle, uint16(len(entry)))
	return append(bundle, entry...), nil
}

// SplitBundle returns the entries of a bundle, which share its memory. It fails
// unless the bundle holds exactly width whole entries.
func SplitBundle(bundle []byte, width int) ([][]byte, error) {
	entries := make([][]byte, 0, width)
	for rest := bundle; len(rest) > 0; {
		if len(rest) < 2 || len(rest)-2 < int(binary.BigEndian.Uint16(rest)) {
			return nil, fmt.Errorf("entry bundle ends inside entry %d, at byte %d",
				len(entries), len(bundle))
		}
		n := 2 + int(binary.BigEndian.Uint16(rest))
		entries = append(entries, rest[2:n:n])
		rest = rest[n:]
	}
	if len(entries) != width {
		return nil, fmt.Errorf("entry bundle holds %d entries, want %d", len(entries), width)
	}
	return entries, nil
}
