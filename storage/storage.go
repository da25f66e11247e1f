// Package storage defines what Stele asks of a database, and holds what both
// drivers share: the encoding of chunks, and the [Reader] that serves a stored
// log as tiles. The drivers are in the folders below; the suite that both pass
// is in storagetest.
//
// # The contract
//
// A [Store] keeps any number of logs. For each [Log] it keeps, insert-only:
//
//   - chunks: runs of at most 256 consecutive entries, compressed, in one row.
//     A chunk never straddles a multiple of 256, so each belongs to exactly one
//     entry bundle;
//   - full tiles of hashes, stored once, when they become full. Partial tiles
//     are not stored: they follow from chunks and from the roots of full tiles;
//   - heads: the size and root of the tree after each commit, together with the
//     size the commit built on, and a MAC, which only means something outside the
//     database;
//   - checkpoints: every signed note ever published, numbered from 0.
//
// What always holds:
//
//  1. Nothing of the above is ever updated or deleted, and the schema refuses
//     to, to the server's role and to the tables' owner.
//  2. Heads form one line: each head names the head it builds on, and the
//     schema accepts only one successor to each. There are no gaps: the chunks
//     between two heads cover exactly the indexes between their sizes.
//  3. [Log.Commit] is one transaction: chunks, tiles and head become durable
//     together or not at all, and once it has returned nil they survive
//     anything but the loss of the disk.
//  4. A commit by any but the newest epoch is refused, so that a sequencer that
//     lost its lease unawares can do no harm.
//
// The key indexes ([Log.Runs]) and the cursors of followers ([Log.Cursors]) are not
// part of the truth. They follow from the entries and can be dropped and built again
// at any time.
//
// # Errors
//
// Drivers wrap their errors with what they were doing. Callers branch on
// [ErrNotFound], [ErrExists], [ErrStale], [ErrFenced], [ErrDamaged] and
// [ErrUnavailable] with errors.Is. After ErrUnavailable, or any other error that is
// not among these, from what stores something, the outcome is unknown: the caller of
// Commit reads the head again and never guesses.
//
// A Store and its Logs are safe for concurrent use.
package storage

import (
	"context"
	"errors"
	"iter"
	"time"

	"github.com/stele-log/stele/pkg/tree"
)

var (
	// ErrNotFound means that there is no such log, head, tile or checkpoint.
	ErrNotFound = errors.New("not found")

	// ErrExists means that a log of that name or origin exists already.
	ErrExists = errors.New("exists already")

	// ErrStale means that a commit or checkpoint builds on something that is not
	// the newest any more, or that a cursor has moved. Nothing was stored.
	ErrStale = errors.New("builds on what is not the newest any more")

	// ErrFenced means that another sequencer has begun a newer epoch. Nothing
	// was stored.
	ErrFenced = errors.New("another sequencer has taken over")

	// ErrLeased means that the log's lease has a holder. Where that is another server, the
	// error may be a [*LeasedError].
	ErrLeased = errors.New("another server holds the lease of this log")

	// ErrUnavailable means that the database could not be asked, or that its answer
	// was lost: it is away, or stopping, or it has no connection, memory or disk left.
	// Another attempt may succeed.
	ErrUnavailable = errors.New("the database is not available")

	// ErrDamaged means that what the database holds cannot be what was stored.
	ErrDamaged = errors.New("stored data is damaged")
)

// A LeasedError is ErrLeased, with the holder.
type LeasedError struct {
	Holder  string    // as it was given to Lead: the URL that others reach it by
	Expires time.Time // unless it is renewed until then; a holder that is alive moves it
}

func (e *LeasedError) Error() string { return ErrLeased.Error() + ": " + e.Holder }

func (e *LeasedError) Unwrap() error { return ErrLeased }

// A Store keeps logs in one database.
type Store interface {
	// CreateLog makes a log without entries, with the empty head. The error is
	// ErrExists if the name or the origin is taken.
	CreateLog(ctx context.Context, name, origin string) (Log, error)

	// OpenLog returns the log of that name, or ErrNotFound.
	OpenLog(ctx context.Context, name string) (Log, error)

	// Logs returns what is known of each log, by name.
	Logs(ctx context.Context) ([]Info, error)

	// Identity tells this database from all others, also from what was restored from
	// a backup of it. It is empty if that cannot be told. A failover may change it.
	Identity(ctx context.Context) (string, error)

	// Guards returns how well the database itself keeps the core insert-only now.
	Guards(ctx context.Context) (Guards, error)

	// Ping returns an error if the database does not answer.
	Ping(ctx context.Context) error

	// Connections counts the connections to the database.
	Connections() Connections

	// Close releases the database. It waits for what is under way, but not for long
	// where the database does not answer.
	Close() error
}

// Guards are what a database itself does to keep the core insert-only, as it is now.
type Guards struct {
	// Missing has a sentence for each guard that is not as the schema was made, and for
	// each log with rows that no commit has made.
	Missing []string

	// Excess is why the database's user could take the guards off, such as "user postgres
	// is a superuser", or empty if it could not.
	Excess string
}

// Info is what a log was created with.
type Info struct {
	Name    string // what the log is called in URLs, such as "default"
	Origin  string // the log's identity in its checkpoints
	Created time.Time
}

// A Log is one log in a Store.
type Log interface {
	Info() Info

	// Lead takes the log's lease and begins a new epoch for a sequencer. The holder is
	// the URL that others reach it by; they are told. The error is ErrLeased, at once, if
	// another lease on the log is alive.
	Lead(ctx context.Context, holder string) (Lease, error)

	// Head returns the newest head.
	Head(ctx context.Context) (CommittedHead, error)

	// Heads returns up to limit heads, by size, from those of size first on.
	Heads(ctx context.Context, first uint64, limit int) ([]CommittedHead, error)

	// Commit stores a batch. It returns ErrStale if batch.Base is not the size
	// of the newest head, and ErrFenced if batch.Epoch is not the newest epoch.
	Commit(ctx context.Context, batch Batch) error

	// EachChunk calls f with the chunks that hold the entries from start up to
	// but not including end, in order. The first may begin before start, the last
	// may end after end. Entries beyond the head are left out. A chunk's data is
	// f's only until f returns. An error of f ends it and is returned as it is. A
	// connection is kept meanwhile, so f must not call the Log. See also [Chunks].
	EachChunk(ctx context.Context, start, end uint64, f func(Chunk) error) error

	// EachChunkOf calls f, as EachChunk does, with the chunks of the entry bundles
	// with those numbers, in any order: one query reads from many places.
	EachChunkOf(ctx context.Context, bundles []uint64, f func(Chunk) error) error

	// Tile returns the 8192 bytes of a full tile, or ErrNotFound.
	Tile(ctx context.Context, level int, index uint64) ([]byte, error)

	// EachTile calls f, as EachChunk does, with the full tiles of a level from
	// index start up to but not including end: those that are there, in order.
	EachTile(ctx context.Context, level int, start, end uint64, f func(index uint64, data []byte) error) error

	// TileRoots returns the roots of the full tiles of a level from index start
	// up to but not including end, in order. The error is ErrNotFound unless
	// all of them are there.
	TileRoots(ctx context.Context, level int, start, end uint64) ([]tree.Hash, error)

	// AddCheckpoint stores a published checkpoint. It returns ErrStale unless
	// c.Number is one more than the last one's (0 for the first), and
	// ErrNotFound if no head has c.Size.
	AddCheckpoint(ctx context.Context, c Checkpoint) error

	// LastCheckpoint returns the newest checkpoint, or ErrNotFound.
	LastCheckpoint(ctx context.Context) (Checkpoint, error)

	// Checkpoints returns up to limit checkpoints from number first on, in
	// order.
	Checkpoints(ctx context.Context, first uint64, limit int) ([]Checkpoint, error)

	// Runs returns the log's key indexes.
	Runs() Runs

	// Cursors returns how far the log's followers have come.
	Cursors() Cursors
}

// Runs are the key indexes of one log, as sorted runs of pages. They are derived
// from the entries: not part of the truth, and dropped and built again at will.
type Runs interface {
	// Secret returns what the keys of a kind are hashed with. Where there is no
	// secret yet it stores the one proposed and removes all runs of the kind, in one
	// transaction: nothing would be found in runs made with another, or with none.
	Secret(ctx context.Context, kind string, proposed Secret) (Secret, error)

	// List returns the runs of a kind by their start, without their filters.
	List(ctx context.Context, kind string) ([]Run, error)

	// Filter returns the filter of a run. The error is ErrNotFound if the run is
	// gone.
	Filter(ctx context.Context, run Run) ([]byte, error)

	// Pages returns, for each key, the page of a run on which the key would stand:
	// the last page whose First is at most key. A key before the first page has a
	// zero Page. The error is ErrNotFound if the run is gone: another has taken its
	// place, which may begin at the same entry, see List.
	Pages(ctx context.Context, run Run, keys []uint64) ([]Page, error)

	// EachPage calls f with each page of a run in order of First, which is f's
	// until it returns. The error is ErrNotFound if the run is gone.
	EachPage(ctx context.Context, run Run, f func(Page) error) error

	// Replace stores a run and its pages and removes those runs of its kind that
	// lie within [run.Start, run.End), in one transaction, with the move if it is
	// not nil. A page may be overwritten once the next is asked for. The error is
	// ErrStale if the cursor stands elsewhere.
	Replace(ctx context.Context, run Run, pages iter.Seq[Page], move *Move) error

	// Drop removes all runs of a kind, in one transaction with the move. The error
	// is ErrStale if the cursor stands elsewhere.
	Drop(ctx context.Context, kind string, move Move) error
}

// A Secret makes the keys of one log's index unknown to those who send events.
type Secret [16]byte

// A Lease is the right to append to a log. It ends when it is released, when its store is
// closed, or, where servers share a database, when the holder has not been able to renew
// it for a few seconds and another has taken it. As long as nobody has, the holder goes
// on in its epoch once the database answers again.
type Lease interface {
	// Epoch goes into each batch. Epochs grow, from 1.
	Epoch() uint64

	// Lost is closed once the lease has ended. A holder may hear of it late, so what
	// counts is that commits of its epoch are refused from then on.
	Lost() <-chan struct{}

	// Release gives the lease up. It may be called more than once.
	Release()
}

// A Batch is what one commit adds to a log.
type Batch struct {
	Epoch  uint64          // of the lease
	Base   uint64          // size of the head that the batch builds on
	Head   tree.Head       // the tree with the batch in it
	MAC    []byte          // of the head: 32 bytes, see internal/headmac
	Chunks []Chunk         // cover exactly [Base, Head.Size)
	Tiles  []tree.FullTile // that became full
}

// A CommittedHead is a head as it is stored.
type CommittedHead struct {
	tree.Head
	Base  uint64 // size of the head that it builds on; 0 also for the head of size 0
	Epoch uint64 // in which it was committed; 0 for the head of size 0
	MAC   []byte // as it was committed; nil for the head of size 0, and for heads from before there were MACs
}

// A Chunk is a run of consecutive entries, as one row.
type Chunk struct {
	Start uint64 // index of the first entry
	Count int    // 1 to 256; Start/256 == (Start+Count-1)/256
	Data  []byte // one zstd frame over the entries, as they stand in a bundle
}

// End returns the index after the chunk's last entry.
func (c Chunk) End() uint64 { return c.Start + uint64(c.Count) }

// A Checkpoint is one that was published.
type Checkpoint struct {
	Number    uint64    // position in the log's history of checkpoints, from 0
	Size      uint64    // of the tree it signs
	Note      []byte    // the signed note
	Published time.Time // to the microsecond, UTC
}

// A Run is a sorted part of the key index, over the entries in [Start, End).
type Run struct {
	Kind       string // which key; package keyindex names them
	Start, End uint64
	Filter     []byte // tells most keys that are not in the run; may be empty
}

// A Page is up to a few KiB of a run's sorted pairs of key and index.
type Page struct {
	First uint64 // the first key on the page
	Data  []byte
}
