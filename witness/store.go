package witness

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"time"

	"github.com/stele-log/stele/pkg/tree"
)

var (
	// ErrUnknownLog means that the witness does not follow a log of that origin
	// or, from [Store.Checkpoint], has signed no checkpoint of it.
	ErrUnknownLog = errors.New("no such log")

	// ErrStale means that another head is recorded by now than the one to be
	// replaced, or that the log was paused.
	ErrStale = errors.New("the log's recorded head has changed")
)

// A Store holds, durably, the logs that a witness follows and the newest
// checkpoint that it has signed of each. Package witnessdb implements it. It is
// safe for concurrent use, by several processes.
//
// After any error other than those named, a change may or may not have been made.
type Store interface {
	// Log returns the log with that origin. The error is ErrUnknownLog if there
	// is none.
	Log(ctx context.Context, origin string) (Log, error)

	// Logs returns all logs, sorted by origin.
	Logs(ctx context.Context) ([]Log, error)

	// Advance replaces the recorded checkpoint, whose head must be from, in one
	// transaction that is durable when it returns nil. The error is ErrStale if
	// another head is recorded or the log is paused; nothing has changed then.
	Advance(ctx context.Context, origin string, from tree.Head, to Signed) error

	// Checkpoint returns the note of the newest Signed of the origin with that
	// [OriginHash]. The error is ErrUnknownLog if there is none.
	Checkpoint(ctx context.Context, originHash string) ([]byte, error)

	// AddListed adds a log that a log list names. It does nothing, and returns
	// false, if there is a log of that origin.
	AddListed(ctx context.Context, l ListedLog) (added bool, err error)

	// Ping checks that the store can be reached.
	Ping(ctx context.Context) error
}

// A Log is the state of one log in a [Store].
type Log struct {
	Origin string
	VKeys  []string // in the order they were added

	// Head is that of the newest checkpoint signed, or of the empty tree if none was.
	tree.Head
	SignedAt time.Time // in microseconds, UTC; zero if nothing was signed

	Paused bool   // if true, nothing is signed
	QPD    uint64 // checkpoints that may be signed in a UTC day; 0 if not limited
	Day    int64  // days from 1970 to the day that Used counts
	Used   uint64 // checkpoints by which the log grew that were signed on Day

	Listed bool // added from a log list, and not by the operator
}

// usedUp reports whether the log has spent its quota of a day.
func (l Log) usedUp(day int64) bool { return l.QPD > 0 && l.Day == day && l.Used >= l.QPD }

// Signed is a checkpoint with the witness's signatures, as it is recorded before
// they are sent.
type Signed struct {
	tree.Head
	Note []byte    // the signed note, with signatures of the log and the witness
	Time time.Time // of the cosignatures
}

// Day returns the number of UTC days from 1970 to a time.
func Day(t time.Time) int64 { return t.Unix() / int64(24*time.Hour/time.Second) }

// OriginHash returns the lower-case hex SHA-256 of an origin, which is part of the
// URL of its newest checkpoint.
//
// SPEC: https://c2sp.org/tlog-witness: the origin hash.
func OriginHash(origin string) string {
	h := sha256.Sum256([]byte(origin))
	return hex.EncodeToString(h[:])
}
