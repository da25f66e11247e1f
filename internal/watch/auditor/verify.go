package auditor

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/stele-log/stele/pkg/contradiction"
	"github.com/stele-log/stele/pkg/tree"
)

// Verifying a head compares it with the newest verified one, by consistency
// proofs made from whatever tiles and entries the sources serve. A source that
// fails or lies cannot make a head verified or refuted, it can only leave it
// pending: every proof ends in a root that the log has signed.

// gracePeriod is how long a signed head may stay unproven before the webhook is
// notified: a witness may cosign a head some time before the log publishes it.
const gracePeriod = time.Minute

// errNotServed is why a head stays pending while none of the URLs serves its log.
var errNotServed = errors.New("no URL serves this log")

// verifyPending tries to verify each pending head, and reports whether none is
// left. The caller holds l.verifying.
func (l *log) verifyPending(ctx context.Context) bool {
	l.mu.Lock()
	pending := l.state.pendingBySize()
	rollbacks := l.rollbacks
	l.rollbacks = nil
	l.mu.Unlock()
	for _, r := range rollbacks {
		l.a.notify(ctx, r)
	}
	done := true
	// The largest first: once it is verified the others are proven by tiles alone.
	for _, seen := range slices.Backward(pending) {
		err := l.verify(ctx, seen)
		if ctx.Err() != nil {
			return false
		}
		if err != nil {
			done = false
			l.reportUnproven(ctx, seen, err)
		}
	}
	return done
}

// reportUnproven logs why a head is not proven, each time, and notifies the
// webhook once after the grace period.
func (l *log) reportUnproven(ctx context.Context, seen sighting, err error) {
	r := Report{Kind: Unproven, Origin: l.origin, Source: seen.Source, Notes: []string{string(seen.Note)},
		Detail: fmt.Sprintf("signed head of size %d is not proven: %v", seen.head.Size, err)}
	if l.a.cfg.Now().Sub(seen.Time) < gracePeriod || l.reported[seen.key()] {
		l.a.log(r)
		return
	}
	l.reported[seen.key()] = true
	l.a.notify(ctx, r)
}

// verify accepts or refutes a pending head. The error is why it could do neither;
// the head stays pending then.
func (l *log) verify(ctx context.Context, seen sighting) error {
	l.mu.Lock()
	if l.state.isVerified(seen.head) { // an earlier run crashed before it removed the file
		defer l.mu.Unlock()
		return l.state.removePending(seen)
	}
	verified, frontier := l.state.verified, l.state.frontier
	other, forked := l.state.sameSize(seen)
	l.mu.Unlock()
	switch {
	case forked:
		return l.refute(ctx, seen, contradiction.Contradiction{Kind: contradiction.Fork, First: other.Sighting, Second: seen.Sighting})
	case seen.head.Size > verified.head.Size:
		return l.verifyLarger(ctx, seen, verified, frontier)
	default:
		return l.verifySmaller(ctx, seen, verified)
	}
}

// verifyLarger proves that the tree of a larger head begins with the verified
// one, hashes every entry between them, and makes it the newest verified head.
// The first source that serves enough for a verdict is the last one read.
func (l *log) verifyLarger(ctx context.Context, seen, verified sighting, frontier *tree.Frontier) error {
	failed := errNotServed
	for _, s := range l.sourcesOf(seen) {
		prefix, tilesErr := provePrefix(ctx, s.reader, verified.head.Size, seen.head)
		if tilesErr == nil && prefix.root != verified.head.Root {
			return l.refute(ctx, seen, inconsistent(verified, seen, prefix))
		}
		grown, err := grow(ctx, s.reader, frontier, seen.head.Size, l.countHashed)
		switch {
		case err == nil && grown.Head() == seen.head:
			if tilesErr != nil {
				l.a.log(Report{Kind: Damaged, Origin: l.origin, Source: s.name,
					Detail: "the entries have the signed root, the tiles cannot be used: " + tilesErr.Error()})
			}
			return l.acceptNewest(seen, grown)
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil:
			failed = errors.Join(tilesErr, err)
		case tilesErr == nil:
			failed = l.reportWrongEntry(ctx, s, seen, verified.head.Size)
		default:
			// Tiles and new entries are both unusable. If all entries, read again
			// from the first, have the signed root, they show what the prefix is.
			prefix, err := l.provePrefixByEntries(ctx, s, seen, verified.head.Size, seen.head)
			if err == nil && prefix.root != verified.head.Root {
				return l.refute(ctx, seen, inconsistent(verified, seen, prefix))
			}
			if err == nil {
				err = errors.New("read again, they have the signed root")
			}
			failed = errors.Join(s.wrongRoot(), tilesErr, err)
		}
	}
	return failed
}

// wrongRoot is the error about a source whose entries are not those of the head.
func (s *source) wrongRoot() error {
	return fmt.Errorf("%s: %w: its entries have another root than the signed one", s.name, errOtherTree)
}

func inconsistent(smaller, larger sighting, p prefixProof) contradiction.Contradiction {
	return contradiction.Contradiction{Kind: contradiction.Inconsistent, First: smaller.Sighting, Second: larger.Sighting,
		Prefix: p.root, Hashes: p.hashes}
}

// reportWrongEntry finds the first entry, from an index on, that a source serves
// in place of the one in the signed tree, and reports it as a contradiction. The
// head stays pending, since the right entries may be had elsewhere or later; so
// the error is never nil.
func (l *log) reportWrongEntry(ctx context.Context, s *source, seen sighting, from uint64) error {
	c, found, err := findEntry(ctx, s.reader, from, seen.head)
	if err == nil && found {
		c.First = seen.Sighting
		err = l.reportContradiction(ctx, c, s.name)
	}
	return errors.Join(s.wrongRoot(), err)
}

// provePrefixByEntries is provePrefix for a source whose tiles cannot be used: it
// hashes all entries of the larger tree. It does so once for each source and
// pending head, as this reads the whole log.
func (l *log) provePrefixByEntries(ctx context.Context, s *source, pending sighting, size uint64, larger tree.Head) (prefixProof, error) {
	key := s.name + " " + pending.key()
	if l.rebuilt[key] {
		return prefixProof{}, errors.New("all entries were read for it once")
	}
	tiles, err := rebuildTiles(ctx, s.reader, larger, size, l.countHashed)
	// A source that could not be read may be readable next time.
	if err == nil || errors.Is(err, errOtherTree) {
		l.rebuilt[key] = true
	}
	if err != nil {
		return prefixProof{}, err
	}
	return provePrefix(ctx, tiles, size, larger)
}

// verifySmaller proves that the verified tree begins with the tree of a smaller
// head, and adds that to the verified heads.
func (l *log) verifySmaller(ctx context.Context, seen, verified sighting) error {
	failed := errNotServed
	for _, s := range l.sourcesOf(verified) {
		prefix, err := provePrefix(ctx, s.reader, seen.head.Size, verified.head)
		if errors.Is(err, errOtherTree) {
			prefix, err = l.provePrefixByEntries(ctx, s, seen, seen.head.Size, verified.head)
		}
		if err != nil {
			failed = err
			continue
		}
		if prefix.root != seen.head.Root {
			return l.refute(ctx, seen, inconsistent(seen, verified, prefix))
		}
		return l.acceptOlder(seen)
	}
	refuted, err := l.refuteByOlderHead(ctx, seen)
	if refuted {
		return nil
	}
	return errors.Join(failed, err)
}

// refuteByOlderHead is for a head that is smaller than the verified one when
// nobody serves the verified tree any more, as after a rollback: its own tree
// must begin with the heads that were verified before. It reports whether the
// head is refuted, or else why it could not be.
func (l *log) refuteByOlderHead(ctx context.Context, seen sighting) (bool, error) {
	l.mu.Lock()
	older, ok := l.state.below(seen.head.Size)
	l.mu.Unlock()
	if !ok {
		return false, nil
	}
	var failed error
	for _, s := range l.sourcesOf(seen) {
		prefix, err := provePrefix(ctx, s.reader, older.head.Size, seen.head)
		if err != nil {
			failed = err
			continue
		}
		if prefix.root == older.head.Root {
			return false, fmt.Errorf("it is consistent with the verified head of size %d, and no URL serves the larger ones", older.head.Size)
		}
		err = l.refute(ctx, seen, inconsistent(older, seen, prefix))
		return err == nil, err
	}
	return false, failed
}

// refute ends a pending head that contradicts another: once the contradiction is
// on the disk and reported, the head is not verified again in this run.
func (l *log) refute(ctx context.Context, seen sighting, c contradiction.Contradiction) error {
	if err := l.reportContradiction(ctx, c, seen.Source); err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.state.refuted[seen.key()] = seen.head
	return l.state.removePending(seen)
}
