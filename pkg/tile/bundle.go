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
	if err := CheckBundle(bundle, width); err != nil {
		return nil, err
	}
	entries := make([][]byte, width)
	for i := range entries {
		entries[i], bundle, _ = CutEntry(bundle)
	}
	return entries, nil
}

// CutEntry returns the first entry of a bundle and the bundle of those after it,
// which share its memory, and false unless the bundle begins with a whole entry.
func CutEntry(bundle []byte) (entry, rest []byte, ok bool) {
	if len(bundle) < 2 {
		return nil, bundle, false
	}
	n := 2 + int(binary.BigEndian.Uint16(bundle))
	if len(bundle) < n {
		return nil, bundle, false
	}
	return bundle[2:n:n], bundle[n:], true
}

// CheckBundle fails unless the bundle holds exactly width whole entries, as
// [SplitBundle] does.
func CheckBundle(bundle []byte, width int) error {
	n := 0
	for rest := bundle; len(rest) > 0; n++ {
		var ok bool
		if _, rest, ok = CutEntry(rest); !ok {
			return fmt.Errorf("entry bundle ends inside entry %d, at byte %d", n, len(bundle))
		}
	}
	if n != width {
		return fmt.Errorf("entry bundle holds %d entries, want %d", n, width)
	}
	return nil
}
