package access

import (
	"fmt"
	"slices"
	"time"
)

// A Log is what the configuration says of a log.
type Log struct {
	Name    string    `json:"name"`
	Origin  string    `json:"origin"`
	VKeys   []string  `json:"vkeys"` // of its signing keys
	Created time.Time `json:"created,omitzero"`
	By      string    `json:"by,omitempty"` // who made it
	LogSettings
}

// LogSettings are what can be changed of a log.
type LogSettings struct {
	Public Public `json:"public"`
	Reads  Reads  `json:"reads"`
}

// Public is what of a log needs no role.
type Public string

// What of a log is public.
const (
	PublicNothing Public = "nothing" // not even that there is such a log
	PublicProofs  Public = "proofs"  // checkpoints, hash tiles, consistency proofs and keys: what witnesses and verifiers need
	PublicEntries Public = "entries" // everything
)

// Reads is whose reading of entries is recorded in the log named access.
type Reads string

// Whose reads of a log are recorded.
const (
	ReadsNone   Reads = "none"
	ReadsPeople Reads = "people" // who has signed in, and auditors
	ReadsAll    Reads = "all"
)

// defaults are the settings of a log for which none were chosen.
var defaults = LogSettings{Public: PublicProofs, Reads: ReadsPeople}

// Check fails unless the settings can be chosen. Those that are empty are not.
func (l LogSettings) Check() error { return l.check(defaults) }

// check fails unless the settings can be. What is not chosen is as in old.
func (l *LogSettings) check(old LogSettings) error {
	if l.Public == "" {
		l.Public = old.Public
	}
	if l.Reads == "" {
		l.Reads = old.Reads
	}
	if !slices.Contains([]Public{PublicNothing, PublicProofs, PublicEntries}, l.Public) {
		return fmt.Errorf("%w: public is nothing, proofs or entries, not %.40q", ErrInvalid, l.Public)
	}
	if !slices.Contains([]Reads{ReadsNone, ReadsPeople, ReadsAll}, l.Reads) {
		return fmt.Errorf("%w: reads is none, people or all, not %.40q", ErrInvalid, l.Reads)
	}
	return nil
}
