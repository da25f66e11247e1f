package storage

import "context"

// Cursors are how far the followers of one log have come. They are derived, as is
// everything that followers store: a cursor moves in the transaction that stores
// what lies behind it. So a method that stores for a follower takes a [Move], as
// [Runs] do.
type Cursors interface {
	// Get returns where a follower's cursor stands: at the zero Position if it has
	// none yet.
	Get(ctx context.Context, follower string) (Position, error)

	// Move moves a cursor and stores nothing else. The error is ErrStale if the
	// cursor does not stand at move.From.
	Move(ctx context.Context, move Move) error
}

// A Position is where a cursor stands.
type Position struct {
	Version int    // of the form of what the follower stores, from 1
	Next    uint64 // index of the first entry that is not applied
}

// A Move is a compare-and-swap of a follower's cursor. In a transaction with other
// writes it fails with ErrStale, and they with it, if the cursor does not stand at
// From: another server was quicker.
type Move struct {
	Follower string
	From, To Position
}

// Stay returns the move that leaves the cursor at From: it only fails if the cursor
// does not stand there.
func (m Move) Stay() Move { return Move{m.Follower, m.From, m.From} }
