// Package follow keeps what is derived from a log up to date with it. A [Follower]
// says how entries are applied; a [Runner] owns the loop: when there is something to
// apply, what happens after an error, how far behind a follower is, and when its
// state is built again.
//
// What always holds, for each follower and log:
//   - batches come in index order, without gaps, and each at least once;
//   - a batch and the cursor behind it become durable together or not at all. The
//     cursor moves by compare-and-swap, so that of several servers that follow a log
//     one stores a batch; the others open their state again and go on from there;
//   - state of another version is dropped, and built again from entry 0;
//   - a follower delays neither the sequencer nor another follower: it has a
//     goroutine of its own, and to tell a Runner of a head never blocks.
//
// A Runner is safe for concurrent use. The methods of a State are called by one
// goroutine, those of a Follower by many.
package follow

import (
	"context"

	"github.com/stele-log/stele/storage"
)

// A Scope says which entries of a log a follower may see.
type Scope int

const (
	// Committed entries are durable and integrated. Those that this server commits
	// are followed at once; a server that does not write to the log leaves the
	// following to the one that does.
	Committed Scope = iota

	// Published entries are covered by a public checkpoint, whichever server has
	// published it.
	Published
)

// A Follower derives something from logs, from each by itself.
type Follower interface {
	// Name stands in metrics, messages and the row of the cursor: "leaf-index".
	Name() string

	// Version is that of the form of what the follower stores, from 1.
	Version() int

	// Upto says which entries the follower may see.
	Upto() Scope

	// Open returns what is stored for a log. The error is storage.ErrDamaged if
	// that cannot be used; then it is dropped, and built again.
	Open(ctx context.Context, log *storage.Reader) (State, error)

	// Drop removes what is stored for a log, of any version, in one transaction
	// with the move.
	Drop(ctx context.Context, log *storage.Reader, move storage.Move) error
}

// A State is what a Follower has derived from one log.
type State interface {
	// Next returns the index of the first entry that was not applied. When the
	// State is opened that is where the cursor stands.
	Next() uint64

	// Step returns how many entries are wanted at once, from 1. A batch has a
	// multiple of them.
	Step() uint64

	// Apply applies the batch that begins at Next. What it stores, it stores in one
	// transaction with the cursor's move (see [Move]). It may keep entries in memory
	// until there are enough to be stored: the cursor then stays where it is, and
	// after a restart they come again. After an error the State is not used any
	// more.
	Apply(ctx context.Context, b Batch) error
}

// Move returns the move of a follower's cursor from the entry where it stands to
// the first one that is not applied.
func Move(f Follower, from, to uint64) storage.Move {
	return storage.Move{
		Follower: f.Name(),
		From:     storage.Position{Version: f.Version(), Next: from},
		To:       storage.Position{Version: f.Version(), Next: to},
	}
}
