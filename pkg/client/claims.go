package client

import (
	"cmp"
	"context"
	"fmt"
	"iter"
	"math"
	"slices"

	"github.com/stele-log/stele/pkg/heads"
	"github.com/stele-log/stele/pkg/tree"
)

// A claim is a head that the tree must have at its size.
type claim struct {
	name   string // of where it comes from
	head   tree.Head
	signed bool // by the log

	agreed func() // called once it agrees; may be nil
}

// A claimant makes claims by size, of which the next one that the frontier has not reached is
// due.
type claimant struct {
	next func() (claim, error, bool)
	due  *claim // nil at the beginning and at the end
}

// due returns the size of the next claim, which is larger than the frontier.
func (c *checker) due() uint64 {
	size := uint64(math.MaxUint64)
	for _, s := range c.claimants {
		if s.due != nil {
			size = min(size, s.due.head.Size)
		}
	}
	return size
}

// advance compares the claims whose size the frontier has reached, and makes the next
// ones due.
func (c *checker) advance(ctx context.Context) error {
	for _, s := range c.claimants {
		for s.due == nil || s.due.head.Size == c.frontier.Size() {
			if err := ctx.Err(); err != nil {
				return err
			}
			if s.due != nil {
				if err := c.reach(*s.due); err != nil {
					return err
				}
			}
			next, err, ok := s.next()
			if err != nil {
				return err
			}
			if s.due = nil; !ok {
				break
			}
			s.due = &next
		}
	}
	return nil
}

// reach compares a claim with the tree, which has its size.
func (c *checker) reach(made claim) error {
	if got := c.frontier.Head(); got != made.head {
		return fmt.Errorf("%s: %w", made.name, c.disagree(made))
	}
	if made.signed {
		c.proven = made.head.Size
	}
	if made.agreed != nil {
		made.agreed()
	}
	return nil
}

// disagree returns the error for a head that is not that of the entries. The tiles
// agree with the entries, so nothing shows which entry was changed; only those below
// the last signed head that agrees are known to be right.
func (c *checker) disagree(made claim) error {
	first, last := c.proven, max(made.head.Size, 1)-1
	switch {
	case !made.signed && c.proven == made.head.Size:
		return fmt.Errorf("it was changed: it is %v, and the entries have %v, as the log has signed", made.head, c.frontier.Head())
	case !made.signed:
		return fmt.Errorf("it is %v, but the entries have %v: it was changed, or one of the entries %d to %d was",
			made.head, c.frontier.Head(), first, last)
	}
	return fmt.Errorf("it signs %v, but the entries have %v: one of the entries %d to %d was changed, "+
		"or another history was signed", made.head, c.frontier.Head(), first, last)
}

// checkSizes fails unless the tree that is read, and what is published of it, are as
// large as what is known to be signed.
func (c *checker) checkSizes(known []KnownHead) error {
	if c.head.Size < c.signed.Size {
		return fmt.Errorf("the newest checkpoint signs %d entries, and the newest committed head has %d: the log was cut off",
			c.signed.Size, c.head.Size)
	}
	for _, k := range known {
		has := c.signed.Size
		if k.Unpublished {
			has = c.head.Size
		}
		if k.Size > has {
			return fmt.Errorf("%s: the log has signed %d entries, and shows %d: the entries from %d on were cut off, "+
				"or this is an old state of it, from a backup or a cache", k.Name, k.Size, has, has)
		}
	}
	return nil
}

// checkpoints yields the newest checkpoint's head and those of the history, each judged
// by the policy of its time.
func (c *checker) checkpoints(history iter.Seq2[heads.Checkpoint, error]) iter.Seq2[claim, error] {
	return func(yield func(claim, error) bool) {
		if history != nil && !c.judge(history, yield) {
			return
		}
		yield(claim{name: "newest checkpoint", head: c.signed, signed: true}, nil)
	}
}

// judge yields the checkpoints of a history up to the newest one, and reports whether
// there may be more claims.
func (c *checker) judge(history iter.Seq2[heads.Checkpoint, error], yield func(claim, error) bool) bool {
	next := uint64(0)   // number of the next checkpoint
	before := uint64(0) // size of the one before
	for past, err := range history {
		if err != nil {
			yield(claim{}, fmt.Errorf("read history of checkpoints: %w", err))
			return false
		}
		if past.Number != next {
			yield(claim{}, fmt.Errorf("checkpoint %d is missing: the next is %d", next, past.Number))
			return false
		}
		next++
		unmet, earlier := c.past.Unmet, c.past.Before
		result, _, err := c.past.Check(past.Note)
		if err != nil {
			yield(claim{}, fmt.Errorf("checkpoint %d: %w", past.Number, err))
			return false
		}
		if result.Size > c.signed.Size { // published since the check began
			c.past.Unmet, c.past.Before = unmet, earlier
			continue
		}
		if result.Size < before {
			yield(claim{}, fmt.Errorf("checkpoint %d: its size, %d, is smaller than that of one before", past.Number, result.Size))
			return false
		}
		before = result.Size
		made := claim{name: fmt.Sprintf("checkpoint %d", past.Number), head: result.Head, signed: true, agreed: func() { c.agreed++ }}
		if !yield(made, nil) {
			return false
		}
	}
	return true
}

// known yields what is known to be signed, by size.
func (c *checker) known(known []KnownHead) iter.Seq2[claim, error] {
	bySize := slices.SortedStableFunc(slices.Values(known), func(a, b KnownHead) int { return cmp.Compare(a.Size, b.Size) })
	return func(yield func(claim, error) bool) {
		for _, k := range bySize {
			if !yield(claim{name: k.Name, head: k.Head, signed: true}, nil) {
				return
			}
		}
	}
}

// committed yields unsigned heads, and the newest of them.
func (c *checker) committed(heads iter.Seq2[tree.Head, error]) iter.Seq2[claim, error] {
	return func(yield func(claim, error) bool) {
		if heads != nil {
			for head, err := range heads {
				if err != nil {
					yield(claim{}, err)
					return
				}
				if head.Size > c.head.Size {
					break // committed since the check began
				}
				if head.Size < c.frontier.Size() {
					yield(claim{}, fmt.Errorf("the head of size %d is out of order", head.Size))
					return
				}
				if !yield(claim{name: fmt.Sprintf("head of size %d", head.Size), head: head}, nil) {
					return
				}
			}
		}
		yield(claim{name: "newest head", head: c.head}, nil)
	}
}
