// Package restore rebuilds a log in a database from a verified copy of it, such
// as a mirror's folder, with the history of its checkpoints from an archive of
// heads.
//
//	check -> record -> open -> run
//
// check verifies the copy and the archive, record makes sure that the log's
// publisher cannot sign another history, open creates the log or opens the one
// that was begun, and run commits entries and checkpoints.
//
// Invariants:
//   - nothing is changed before the whole copy is verified;
//   - a log is only ever brought forward, along the history that it has signed;
//   - a restore can be stopped at any point and run again: each step finds what is
//     done already.
//
// It runs in one goroutine, and holds the log's lease while it commits, so that no
// server writes to the log meanwhile.
package restore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/stele-log/stele/pkg/checkpoint"
	"github.com/stele-log/stele/pkg/client"
	"github.com/stele-log/stele/pkg/heads"
	"github.com/stele-log/stele/pkg/policy"
	"github.com/stele-log/stele/pkg/proof"
	"github.com/stele-log/stele/pkg/tile"
	"github.com/stele-log/stele/pkg/tree"
	"github.com/stele-log/stele/storage"
)

// Config configures a restore.
type Config struct {
	Copy   tile.Reader    // a whole copy, such as a mirror's folder
	Policy *policy.Policy // the log and the witnesses that the copy must satisfy

	Store storage.Store
	Name  string // of the log in the store

	// OpenHeads returns the log in the store such that its heads carry MACs.
	OpenHeads func(context.Context, storage.Log) (storage.Log, error)

	// Keys are the verifiers of the keys that the restored log will sign with:
	// one must have signed the copy's checkpoint.
	Keys []note.Verifier

	// Record keeps the last checkpoint that the log has signed, outside the
	// database; see publisher.Record.
	Record Record

	// Heads, if not nil, is an archive of heads from checkpoint 0 on: the log's
	// history of checkpoints. Without it the history consists of the copy's
	// checkpoint alone. It is read several times.
	Heads io.ReadSeeker

	// Now gives the time of publication of a checkpoint that the archive lacks.
	Now func() time.Time

	// Progress is called with the name of a step and how many entries of the copy
	// it has gone through.
	Progress func(what string, done, total uint64)
}

// A Record holds the last checkpoint that a log has signed, and the last that it has
// published.
type Record interface {
	Load() ([]byte, error) // nil if there is none
	Store(msg []byte) error
	StorePublished(c storage.Checkpoint) error
}

// A Result summarizes a restore.
type Result struct {
	policy.Result        // of the copy's checkpoint
	Added         uint64 // entries; the others were in the log before
	Checkpoints   uint64 // in the log's history now
	NoRecord      bool   // there was no record of what was signed last
}

// Run rebuilds a log from a copy. It verifies the whole copy before it
// changes anything. A log that is there already is brought forward, if it is the
// beginning of the copy; so Run can be called again after it was stopped.
//
//   - First the copy's checkpoint is put on record as signed. From then on the
//     log's publisher signs nothing that does not continue it, so a log that is
//     restored in part is not signed.
//   - Then the entries are committed, with a head for each checkpoint of the
//     history, and each checkpoint is stored as soon as its head is committed.
//
// A log cannot be restored from a copy that is behind what the log has signed:
// it would sign another history.
func Run(ctx context.Context, cfg Config) (Result, error) {
	r := &restorer{cfg: cfg}
	if err := r.check(ctx); err != nil {
		return Result{}, err
	}
	if err := r.record(ctx); err != nil {
		return Result{}, err
	}
	if err := r.open(ctx); err != nil {
		return Result{}, err
	}
	if err := r.run(ctx); err != nil {
		return Result{}, fmt.Errorf("restore log %s: %w", cfg.Name, err)
	}
	newest := storage.Checkpoint{Number: r.restored.Checkpoints - 1, Note: r.note}
	if err := cfg.Record.StorePublished(newest); err != nil {
		return Result{}, fmt.Errorf("record what was published last: %w", err)
	}
	return r.restored, nil
}

// A restorer is one restore under way. Each step leaves its findings for the next.
type restorer struct {
	cfg      Config
	note     []byte // the copy's checkpoint
	head     tree.Head
	log      storage.Log
	base     tree.Head // of the log when it was opened
	restored Result
}

// check verifies the copy and the archive of heads against each other, the policy
// and the keys: every entry is hashed, and every archived checkpoint compared with
// the tree.
func (r *restorer) check(ctx context.Context) (err error) {
	o := client.CheckOptions{Progress: func(done, total uint64) { r.cfg.Progress("checking", done, total) }}
	var last heads.Verified
	if r.cfg.Heads != nil {
		if last, err = checkArchive(r.cfg.Heads, r.cfg.Policy); err != nil {
			return fmt.Errorf("the archive of heads: %w", err)
		}
		o.History = archived(r.cfg.Heads)
	}
	report, err := client.Check(ctx, r.cfg.Copy, r.cfg.Policy, o)
	if err != nil {
		if errors.Is(err, tile.ErrUnchecked) {
			return fmt.Errorf("check the copy: %w", err)
		}
		return fmt.Errorf("the copy is not whole: %w", err)
	}
	r.restored.Result, r.head = report.Result, report.Head
	if r.note, err = r.cfg.Copy.ReadCheckpoint(ctx); err != nil {
		return fmt.Errorf("read the copy's checkpoint: %w", err)
	}
	c, _, err := checkpoint.Open(r.note, report.Origin, r.cfg.Keys...)
	if err != nil {
		return fmt.Errorf("the signing key is not the one that signed the copy: %w", err)
	}
	if c.Head != r.head {
		return errors.New("the copy changed while it was being checked: stop its mirror, and try again")
	}
	if last.Head.Size > r.head.Size {
		return fmt.Errorf("the archive of heads ends with %v, the copy with %v: the copy lacks entries that were signed", last.Head, r.head)
	}
	return nil
}

// record refuses a copy that is behind the last checkpoint signed, or inconsistent
// with it, and then records the copy's checkpoint. Without a record any copy is
// taken on the operator's word; the result has NoRecord then, for a warning.
func (r *restorer) record(ctx context.Context) error {
	msg, err := r.cfg.Record.Load()
	if err != nil {
		return fmt.Errorf("read what was signed last: %w", err)
	}
	if msg == nil {
		r.restored.NoRecord = true
		return r.cfg.Record.Store(r.note)
	}
	signed, _, err := checkpoint.Open(msg, r.restored.Origin, r.cfg.Keys...)
	if err != nil {
		return fmt.Errorf("what was signed last: %w", err)
	}
	if signed.Size > r.head.Size {
		return fmt.Errorf("the copy ends with %v, but the log has signed %v: restored from this copy, it would "+
			"sign another history. Find a copy with at least %d entries. If there is none, and no witness and no "+
			"reader has seen that checkpoint, move the file that records it away; if anybody has, this log cannot "+
			"go on, and a new one needs another origin", r.head, signed.Head, signed.Size)
	}
	if err := r.follows(ctx, signed.Head); err != nil {
		return fmt.Errorf("the copy does not continue what the log has signed: %w", err)
	}
	if signed.Head == r.head {
		return nil
	}
	return r.cfg.Record.Store(r.note)
}

// follows proves that the copy continues a head. The copy is known to be whole.
func (r *restorer) follows(ctx context.Context, head tree.Head) error {
	hashes, err := proof.Consistency(ctx, tree.TileNodes(r.cfg.Copy, r.head.Size), head.Size, r.head.Size)
	if err != nil {
		return err
	}
	return proof.VerifyConsistency(head, r.head, hashes)
}

// open creates the log, or opens the existing one if the copy continues it.
func (r *restorer) open(ctx context.Context) (err error) {
	r.log, err = r.cfg.Store.CreateLog(ctx, r.cfg.Name, r.restored.Origin)
	if errors.Is(err, storage.ErrExists) {
		taken := err
		if r.log, err = r.cfg.Store.OpenLog(ctx, r.cfg.Name); errors.Is(err, storage.ErrNotFound) {
			err = taken // another log has the origin
		}
	}
	if err != nil {
		return fmt.Errorf("make log %s: %w", r.cfg.Name, err)
	}
	if origin := r.log.Info().Origin; origin != r.restored.Origin {
		return fmt.Errorf("log %s exists already, with the origin %q; the copy's is %q", r.cfg.Name, origin, r.restored.Origin)
	}
	base, err := r.log.Head(ctx)
	if err != nil {
		return err
	}
	r.base = base.Head
	if r.log, err = r.cfg.OpenHeads(ctx, r.log); err != nil {
		return err
	}
	if r.base.Size > r.head.Size {
		return fmt.Errorf("log %s exists already, and has %d entries; the copy has %d", r.cfg.Name, r.base.Size, r.head.Size)
	}
	if err := r.follows(ctx, r.base); err != nil {
		return fmt.Errorf("log %s exists already, and the copy does not continue it (restore into an empty database): %w",
			r.cfg.Name, err)
	}
	return nil
}
