// Package memsystem keeps a log of a server's configuration in memory, for tests of what
// is folded from it. Several controls may share one, as servers share a database.
package memsystem

import (
	"context"
	"sync"
	"time"

	"github.com/stele-log/stele/pkg/event"
	"github.com/stele-log/stele/pkg/tree"
)

// A Log is safe for concurrent use, but for its fields, which are set between uses.
type Log struct {
	Entries [][]byte
	Head    tree.Head // of what was appended, whatever Entries are made to be
	Err     error     // of reading and appending, if it is not nil
	Now     time.Time // recorded

	mu sync.Mutex
}

// New returns an empty log.
func New(now time.Time) *Log { return &Log{Head: tree.Empty(), Now: now} }

// Clock returns the time.
func (l *Log) Clock() time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.Now
}

// Read calls f with the entries from start on, and returns the head.
func (l *Log) Read(_ context.Context, start uint64, f func(entry []byte) error) (tree.Head, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.Err != nil {
		return tree.Head{}, l.Err
	}
	for _, e := range l.Entries[min(start, uint64(len(l.Entries))):] {
		if err := f(e); err != nil {
			return l.Head, err
		}
	}
	return l.Head, nil
}

// Append appends an event.
func (l *Log) Append(_ context.Context, e event.Event) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.Err != nil {
		return l.Err
	}
	l.Entries = append(l.Entries, e.AppendEntry(nil, l.Now))
	l.Head = HeadOf(l.Entries)
	return nil
}

// HeadOf returns the head of the tree over entries.
func HeadOf(entries [][]byte) tree.Head {
	leaves := make([]tree.Hash, len(entries))
	for i, e := range entries {
		leaves[i] = tree.LeafHash(e)
	}
	var f tree.Frontier
	f.Append(leaves)
	return f.Head()
}
