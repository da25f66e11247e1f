package jsonlines

import (
	"errors"
	"fmt"
	"strings"

	"github.com/stele-log/stele/internal/ingest"
)

// CheckFields returns an error if no record in the files has a field that the options
// name, or if the first time has no zone and needs one: an import would store all
// events without it, or refuse them all. It reads no further than it takes to find
// each field once.
func CheckFields(names []string, o Options) error {
	n, err := NewReader(o)
	if err != nil {
		return err
	}
	if len(n.unfound()) == 0 {
		return nil
	}
	for in := range ingest.Files(names, n.Events, func(uint64) {}) {
		if errors.Is(in.Err, ingest.ErrNoZone) {
			return in.Err
		}
		if len(n.unfound()) == 0 {
			return nil
		}
	}
	return n.Found()
}

// Found returns an error if records were read, and none of them has one of the fields
// that options name.
func (n *Reader) Found() error {
	names := n.unfound()
	if n.records == 0 || len(names) == 0 {
		return nil
	}
	return fmt.Errorf("0 of %d records have %s (with --allow-missing they are imported without)",
		n.records, strings.Join(names, ", and 0 have "))
}
