package auditor

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/stele-log/stele/pkg/contradiction"
	"github.com/stele-log/stele/pkg/tree"
)

// patience is how long a signed head may stay unproven before it is reported: a
// witness may see it some time before it is published.
const patience = time.Minute

// A log is one that is followed.
type log struct {
	a       *Auditor
	origin  string
	folder  string        // below the state folder
	working sync.Mutex    // held while heads are judged
	largest atomic.Uint64 // size of the largest signed head seen

	mu        sync.Mutex // guards what follows, and is not held while a log is read
	state     *state
	rollbacks []Report // to be told

	// Guarded by working:
	rebuilt map[string]bool // by key: heads for which all entries were read anew
	alerted map[string]bool // by key: heads reported as unproven
}

func newLog(a *Auditor, origin, folder string, s *state) *log {
	l := &log{a: a, origin: origin, folder: folder, state: s, rebuilt: map[string]bool{}, alerted: map[string]bool{}}
	l.noteSize(s.verified.head.Size)
	for _, seen := range s.pending {
		l.noteSize(seen.head.Size)
	}
	return l
}

func (l *log) noteSize(size uint64) {
	for old := l.largest.Load(); size > old && !l.largest.CompareAndSwap(old, size); old = l.largest.Load() {
	}
}

// keep keeps a signed head, unless it is known, and compares its size with what
// the same source has shown before.
func (l *log) keep(seen sighting) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.state.knows(seen) {
		if err := l.state.addPending(seen); err != nil {
			return err
		}
		l.noteSize(seen.head.Size)
	}
	before, err := l.state.setView(originHash(seen.Source)[:32], seen)
	if err != nil {
		return err
	}
	if before.head.Size > seen.head.Size {
		l.rollbacks = append(l.rollbacks, Report{Kind: Rollback, Origin: l.origin, Source: seen.Source,
			Detail: fmt.Sprintf("rolled back view: it shows %d entries, and has shown %d before; "+
				"an old copy or a restored backup, and no contradiction if the smaller tree is how the larger began",
				seen.head.Size, before.head.Size),
			Notes: []string{string(before.Note), string(seen.Note)}})
	}
	return nil
}

// settle judges the heads that are pending, and reports whether none is left.
func (l *log) settle(ctx context.Context) bool {
	l.mu.Lock()
	pending := l.state.pendingBySize()
	rollbacks := l.rollbacks
	l.rollbacks = nil
	l.mu.Unlock()
	for _, r := range rollbacks {
		l.a.report(ctx, r)
	}
	settled := true
	// The largest first: what it takes to judge the others is then known.
	for _, seen := range slices.Backward(pending) {
		err := l.judge(ctx, seen)
		if ctx.Err() != nil {
			return false
		}
		if err != nil {
			settled = false
			l.complain(ctx, seen, err)
		}
	}
	return settled
}

// complain says why a head is not proven: in the log each time, and to everybody
// once it has been so for long.
func (l *log) complain(ctx context.Context, seen sighting, err error) {
	r := Report{Kind: Unproven, Origin: l.origin, Source: seen.Source, Notes: []string{string(seen.Note)},
		Detail: fmt.Sprintf("signed head of size %d is not proven: %v", seen.head.Size, err)}
	if l.a.cfg.Now().Sub(seen.Time) < patience || l.alerted[seen.key()] {
		l.a.trouble(r)
		return
	}
	l.alerted[seen.key()] = true
	l.a.report(ctx, r)
}

// judge takes a pending head to one end or the other. It returns why it could
// not, in which case the head stays pending.
func (l *log) judge(ctx context.Context, seen sighting) error {
	l.mu.Lock()
	verified, frontier := l.state.verified, l.state.frontier
	rival, forked := l.rival(seen)
	same := l.state.heads[seen.head.Size].head == seen.head || verified.head == seen.head
	l.mu.Unlock()
	switch {
	case same: // the last run ended before it could be removed
		return l.remove(seen)
	case forked:
		return l.contradict(ctx, seen, contradiction.Contradiction{Kind: contradiction.Fork, First: rival.Sighting, Second: seen.Sighting})
	case seen.head.Size > verified.head.Size:
		return l.follow(ctx, seen, verified, frontier)
	default:
		return l.lookBack(ctx, seen, verified)
	}
}

// rival returns another head of the same size: a verified one, or one that was
// seen before it. The state is locked.
func (l *log) rival(seen sighting) (sighting, bool) {
	if v := l.state.verified; v.Note != nil && v.head.Size == seen.head.Size && v.head != seen.head {
		return v, true
	}
	if h, ok := l.state.heads[seen.head.Size]; ok && h.head != seen.head {
		return h, true
	}
	for _, other := range l.state.pending {
		first := cmp.Or(other.Time.Compare(seen.Time), cmp.Compare(other.key(), seen.key())) < 0
		if first && other.head.Size == seen.head.Size && other.head != seen.head {
			return other, true
		}
	}
	return sighting{}, false
}

// sourcesOf returns where the log is found, the one that has shown the head
// first.
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

var errNowhere = errors.New("no URL shows this log")

// follow proves that a larger head begins with the verified one, hashes every
// entry between them, and makes it the verified one.
func (l *log) follow(ctx context.Context, seen, verified sighting, frontier *tree.Frontier) error {
	err := errNowhere
	for _, s := range l.sourcesOf(seen) {
		related, tilesErr := relate(ctx, s.reader, verified.head.Size, seen.head)
		if tilesErr == nil && related.prefix != verified.head.Root {
			return l.contradict(ctx, seen, inconsistent(verified, seen, related))
		}
		grown, growErr := grow(ctx, s.reader, frontier, seen.head.Size, l.hashed)
		if growErr == nil && grown.Head() == seen.head {
			if tilesErr != nil {
				l.a.trouble(Report{Kind: Damaged, Origin: l.origin, Source: s.name,
					Detail: "the entries are those that were signed, the tiles cannot be used: " + tilesErr.Error()})
			}
			return l.advance(seen, grown)
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if growErr != nil {
			err = errors.Join(tilesErr, growErr)
			continue
		}
		done, mismatchErr := l.explainMismatch(ctx, s, seen, verified, tilesErr)
		if done {
			return mismatchErr
		}
		err = mismatchErr
	}
	return err
}

func inconsistent(smaller, larger sighting, r relation) contradiction.Contradiction {
	return contradiction.Contradiction{Kind: contradiction.Inconsistent, First: smaller.Sighting, Second: larger.Sighting,
		Prefix: r.prefix, Hashes: r.hashes}
}

// explainMismatch finds out why the entries of a source do not make the head
// that was signed. It reports whether the head is dealt with.
func (l *log) explainMismatch(ctx context.Context, s *source, seen, verified sighting, tilesErr error) (bool, error) {
	mismatch := fmt.Errorf("%s: %w: its entries have another root than the signed one", s.name, errOtherTree)
	if tilesErr == nil {
		e, found, err := findEntry(ctx, s.reader, verified.head.Size, seen.head)
		if err != nil || !found {
			return false, errors.Join(mismatch, err)
		}
		e.First = seen.Sighting
		return false, errors.Join(mismatch, l.accuse(ctx, e, s.name))
	}
	related, err := l.relateAnew(ctx, s, seen, verified.head.Size, seen.head)
	if err != nil {
		return false, errors.Join(mismatch, tilesErr, err)
	}
	if related.prefix != verified.head.Root {
		return true, l.contradict(ctx, seen, inconsistent(verified, seen, related))
	}
	return false, errors.Join(mismatch, errors.New("and those it serves now have the signed one"))
}

// relateAnew is relate by hashing all entries, where tiles are of no use. It
// does so once for a pending head.
func (l *log) relateAnew(ctx context.Context, s *source, pending sighting, size uint64, larger tree.Head) (relation, error) {
	key := s.name + " " + pending.key()
	if l.rebuilt[key] {
		return relation{}, errors.New("all entries were read for it once")
	}
	tiles, err := rebuild(ctx, s.reader, larger, size, l.hashed)
	// What could not be read may be the next time.
	if err == nil || errors.Is(err, errOtherTree) {
		l.rebuilt[key] = true
	}
	if err != nil {
		return relation{}, err
	}
	return relate(ctx, tiles, size, larger)
}

// lookBack proves that a smaller head is how the verified tree began.
func (l *log) lookBack(ctx context.Context, seen, verified sighting) error {
	err := errNowhere
	for _, s := range l.sourcesOf(verified) {
		var related relation
		related, err = relate(ctx, s.reader, seen.head.Size, verified.head)
		if errors.Is(err, errOtherTree) {
			related, err = l.relateAnew(ctx, s, seen, seen.head.Size, verified.head)
		}
		if err != nil {
			continue
		}
		if related.prefix != seen.head.Root {
			return l.contradict(ctx, seen, inconsistent(seen, verified, related))
		}
		return l.acceptPast(seen)
	}
	if refuted, why := l.refute(ctx, seen); !refuted {
		return errors.Join(err, why)
	}
	return nil
}

// refute tries to refute a head where nobody serves the verified tree any more:
// its own tree must begin with the heads that were verified before. It reports
// whether it could, or else why not.
func (l *log) refute(ctx context.Context, seen sighting) (bool, error) {
	l.mu.Lock()
	before, ok := l.state.below(seen.head.Size)
	l.mu.Unlock()
	if !ok {
		return false, nil
	}
	var err error
	for _, s := range l.sourcesOf(seen) {
		var related relation
		if related, err = relate(ctx, s.reader, before.head.Size, seen.head); err != nil {
			continue
		}
		if related.prefix == before.head.Root {
			return false, fmt.Errorf("it is consistent with the verified head of size %d, and no URL shows the larger ones", before.head.Size)
		}
		err = l.contradict(ctx, seen, inconsistent(before, seen, related))
		return err == nil, err
	}
	return false, err
}

func (l *log) hashed(n int) { l.a.metrics.hashed.WithLabelValues(l.origin).Add(float64(n)) }

// advance makes a pending head the newest verified one.
func (l *log) advance(seen sighting, grown *tree.Frontier) error {
	l.mu.Lock()
	err := l.state.advance(seen, grown)
	l.mu.Unlock()
	if err != nil {
		return fmt.Errorf("keep the verified head: %w", err)
	}
	l.a.cfg.Logger.Info("head verified", "origin", l.origin, "tree_size", seen.head.Size, "source", seen.Source)
	return l.remove(seen)
}

// acceptPast makes a pending head one of those verified before.
func (l *log) acceptPast(seen sighting) error {
	l.mu.Lock()
	err := l.state.addHead(seen)
	l.mu.Unlock()
	if err != nil {
		return fmt.Errorf("keep the verified head: %w", err)
	}
	return l.remove(seen)
}

func (l *log) remove(seen sighting) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.state.removePending(seen)
}
