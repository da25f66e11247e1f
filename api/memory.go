package api

import (
	"errors"
	"sync/atomic"
)

// This file bounds the memory of all requests together, however many there are: a
// request claims bytes of one budget as it needs them, and gives them back when it is
// answered. Bodies, their events and long replies are claimed; the little that every
// request needs is bounded by the number of connections.

const (
	// maxMemory is the budget of all requests, in bytes.
	maxMemory = 256 << 20

	// Claims of more than smallClaim bytes, and those of streams, which may be open for
	// days, leave a quarter of the budget to others, so that neither a few large bodies nor
	// many streams keep single events out.
	smallClaim = 1 << 20
	reserve    = maxMemory / 4

	// eventMemory is what an event takes beside its text, in bytes: parsed, in the
	// queue, and with its outcome.
	eventMemory = 512
)

// errNoMemory means that other requests have claimed the budget.
var errNoMemory = errors.New("no memory for this request")

// A budget is the bytes that requests may claim together. It is safe for concurrent
// use.
type budget struct{ claimed atomic.Int64 }

// claim returns a claim of nothing yet.
func (b *budget) claim() *claim { return &claim{of: b} }

// claimLong returns a claim of nothing yet, for a request that may take days.
func (b *budget) claimLong() *claim { return &claim{of: b, long: true} }

// A claim is the bytes of a budget that one request has claimed. It is safe for
// concurrent use.
type claim struct {
	of   *budget
	long bool
	held atomic.Int64
}

// take claims n bytes more, or returns errNoMemory.
func (c *claim) take(n int) error {
	limit := int64(maxMemory)
	if c.held.Add(int64(n)) > smallClaim || c.long {
		limit -= reserve
	}
	if c.of.claimed.Add(int64(n)) > limit {
		c.give(n)
		return errNoMemory
	}
	return nil
}

// give gives back n bytes that were taken.
func (c *claim) give(n int) {
	c.held.Add(-int64(n))
	c.of.claimed.Add(-int64(n))
}

// release gives back all that is held.
func (c *claim) release() { c.of.claimed.Add(-c.held.Swap(0)) }
