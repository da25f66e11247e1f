package auditor

import (
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/stele-log/stele/pkg/tree"
)

// A log is one log of the policy: its state, and the heads that were seen of it.
// Its heads are recorded at any time, and verified by one goroutine at a time.
type log struct {
	a         *Auditor
	origin    string
	folder    string        // name of its folder in the state folder
	verifying sync.Mutex    // held while pending heads are verified
	largest   atomic.Uint64 // size of the largest signed head seen

	mu        sync.Mutex // guards state and rollbacks; not held during requests
	state     *state
	rollbacks []Report // not yet sent

	// Guarded by verifying:
	rebuilt  map[string]bool // by source and key: pending heads for which all entries were hashed
	reported map[string]bool // by key: heads whose webhook notification as unproven was sent
}

func newLog(a *Auditor, origin, folder string, s *state) *log {
	l := &log{a: a, origin: origin, folder: folder, state: s, rebuilt: map[string]bool{}, reported: map[string]bool{}}
	l.raiseLargest(s.verified.head.Size)
	for _, seen := range s.pending {
		l.raiseLargest(seen.head.Size)
	}
	return l
}

func (l *log) raiseLargest(size uint64) {
	for old := l.largest.Load(); size > old && !l.largest.CompareAndSwap(old, size); old = l.largest.Load() {
	}
}

// record makes a signed head durable as pending, unless it is known, and prepares
// a report if the same source has shown a larger one before. The report is sent
// by verifyPending, as record must not wait for a webhook.
func (l *log) record(seen sighting) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.state.knows(seen) {
		if err := l.state.addPending(seen); err != nil {
			return err
		}
		l.raiseLargest(seen.head.Size)
	}
	before, err := l.state.setView(originHash(seen.Source)[:32], seen)
	if err != nil {
		return err
	}
	if before.head.Size > seen.head.Size {
		l.rollbacks = append(l.rollbacks, Report{Kind: Rollback, Origin: l.origin, Source: seen.Source,
			Detail: fmt.Sprintf("rolled back view: it shows %d entries, after %d before; "+
				"an old copy or a restored backup, and no contradiction if the larger tree begins with the smaller",
				seen.head.Size, before.head.Size),
			Notes: []string{string(before.Note), string(seen.Note)}})
	}
	return nil
}

// sourcesOf returns the sources of the log. The one that showed the head comes
// first: it is the likeliest to serve that head's tree.
func (l *log) sourcesOf(seen sighting) []*source {
	var sources []*source
	for _, s := range l.a.sources {
		switch {
		case s.log.Load() != l:
		case s.name == seen.Source:
			sources = slices.Insert(sources, 0, s)
		default:
			sources = append(sources, s)
		}
	}
	return sources
}

// acceptNewest makes a pending head the newest verified one; grown is the
// frontier of its tree.
func (l *log) acceptNewest(seen sighting, grown *tree.Frontier) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.state.advance(seen, grown); err != nil {
		return fmt.Errorf("keep the verified head: %w", err)
	}
	l.a.cfg.Logger.Info("head verified", "origin", l.origin, "tree_size", seen.head.Size, "source", seen.Source)
	return l.state.removePending(seen)
}

// acceptOlder adds a pending head, smaller than the newest verified one, to the
// verified heads.
func (l *log) acceptOlder(seen sighting) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.state.addHead(seen); err != nil {
		return fmt.Errorf("keep the verified head: %w", err)
	}
	return l.state.removePending(seen)
}

// countHashed counts n more entries in the metrics.
func (l *log) countHashed(n int) { l.a.metrics.hashed.WithLabelValues(l.origin).Add(float64(n)) }
