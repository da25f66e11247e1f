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

// CutEntry returns the first entry of a bundle and what follows it, which share
// its memory. It reports false if the bundle does not begin with a whole entry.
func CutEntry(bundle []byte) (entry, rest []byte, ok bool) {
	if len(bundle) < 2 {
		return nil, nil, false
	}
	end := 2 + int(binary.BigEndian.Uint16(bundle))
	if end > len(bundle) {
		return nil, nil, false
	}
	return bundle[2:end:end], bundle[end:], true
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

// CheckBundle returns an error unless the bundle holds exactly width whole
// entries.
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
