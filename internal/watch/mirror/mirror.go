// Package mirror keeps a verified full copy of a log, as files in the layout of
// C2SP tlog-tiles (https://c2sp.org/tlog-tiles). Package restore rebuilds a lost
// log from one.
//
//	<dir>/checkpoint       the newest checkpoint, all of which is here
//	<dir>/tile/<L>/...     hashes
//	<dir>/tile/entries/... entries
//
// Any web server can serve the folder, and any client of tlog-tiles can read and
// check it.
//
// An update reads the log's newest checkpoint, proves it consistent with that of
// the copy, and reads the bundles of the entries that are new. It hashes them,
// computes the tiles from the hashes, compares the result with the signed head,
// and replaces the checkpoint last.
//
// What always holds:
//   - the copy is complete for its checkpoint, whenever the machine stops: files
//     are renamed into place when they are durable, and the checkpoint comes last;
//   - nothing becomes part of the copy before it is proven: the policy trusts
//     the checkpoint, each entry is hashed, each tile is computed from those
//     hashes, and the tree has the signed head;
//   - a checkpoint is replaced only by one that is proven consistent with it.
//     Otherwise the copy stays as it is, and the error is [InconsistentError];
//   - a partial tile stays until the full one is durable;
//   - full bundles that an interrupted update left behind are verified and used by
//     the next, not fetched again.
//
// A Mirror is for one goroutine. A lock keeps two mirrors from writing to one
// folder.
package mirror

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/stele-log/stele/internal/durable"
	"github.com/stele-log/stele/pkg/policy"
	"github.com/stele-log/stele/pkg/proof"
	"github.com/stele-log/stele/pkg/tile"
	"github.com/stele-log/stele/pkg/tree"
)

// Config configures a Mirror.
type Config struct {
	Log    tile.Reader    // the log to copy
	Dir    string         // the folder of the copy, made if missing
	Policy *policy.Policy // the checkpoints to trust

	// Progress, if not nil, is called after each bundle of an update with the
	// number of entries copied so far, and with that of the new checkpoint.
	Progress func(done, total uint64)

	// FileSystem writes the copy; durable.System if nil.
	FileSystem durable.FileSystem
}

// A Mirror keeps one copy.
type Mirror struct {
	cfg    Config
	files  tile.Reader // of the copy
	unlock func()
}

// Open makes the folder if it is missing, and locks it until Close. It fails if
// another mirror holds the lock.
func Open(cfg Config) (*Mirror, error) {
	if cfg.FileSystem == nil {
		cfg.FileSystem = durable.System
	}
	if cfg.Progress == nil {
		cfg.Progress = func(uint64, uint64) {}
	}
	dir, err := filepath.Abs(cfg.Dir)
	if err != nil {
		return nil, fmt.Errorf("mirror to %s: %w", cfg.Dir, err)
	}
	cfg.Dir = dir
	if err := durable.MkdirAll(cfg.FileSystem, dir, dirPerm); err != nil {
		return nil, fmt.Errorf("mirror to %s: %w", dir, err)
	}
	unlock, err := durable.Lock(filepath.Join(dir, ".lock"))
	if errors.Is(err, durable.ErrLocked) {
		err = errors.New("another mirror writes to this folder")
	}
	if err != nil {
		return nil, fmt.Errorf("mirror to %s: %w", dir, err)
	}
	return &Mirror{cfg, tile.FS(os.DirFS(dir)), unlock}, nil
}

// Close releases the folder's lock.
func (m *Mirror) Close() { m.unlock() }

// An Update is the result of [Mirror.Update]. After an error only Elapsed is set.
type Update struct {
	policy.Result        // of the copy's checkpoint
	Added         uint64 // entries
	Changed       bool   // whether the checkpoint was replaced
	Elapsed       time.Duration
}

// An InconsistentError means that the log has signed two histories: the one in
// the copy, and another. The two notes prove it.
type InconsistentError struct {
	Copy, Log         tree.Head
	CopyNote, LogNote []byte // the signed checkpoints, whole
	Reason            error  // why they are not consistent
}

func (e *InconsistentError) Error() string {
	return fmt.Sprintf("the log has signed two histories: its checkpoint, of %v, is not consistent with that of the copy, of %v: %v",
		e.Log, e.Copy, e.Reason)
}

func (e *InconsistentError) Unwrap() error { return e.Reason }

// ErrBehind means that the log shows a smaller checkpoint than that of the copy,
// and consistent with it.
var ErrBehind = errors.New("the log shows an older checkpoint than the copy has: it comes from a cache, or the log was rolled back")

// Update brings the copy up to the log's newest checkpoint. The error is
// [ErrBehind] if that is smaller than the copy's, and an [*InconsistentError] if
// the two contradict each other. An error wraps [tile.ErrUnchecked] unless it is about what
// the log or the copy shows. After any error the copy is as it was, or complete.
func (m *Mirror) Update(ctx context.Context) (u Update, err error) {
	start := time.Now()
	defer func() { u.Elapsed = time.Since(start) }()
	old, err := m.read(ctx)
	if err != nil {
		return Update{}, fmt.Errorf("the copy in %s: %w", m.cfg.Dir, err)
	}
	note, err := m.cfg.Log.ReadCheckpoint(ctx)
	if errors.Is(err, fs.ErrNotExist) {
		err = tile.Unchecked(err) // there is no log
	}
	if err != nil {
		return Update{}, fmt.Errorf("read the log's checkpoint: %w", err)
	}
	found, err := m.cfg.Policy.Check(note)
	if err != nil {
		return Update{}, fmt.Errorf("the log's checkpoint: %w", err)
	}
	if old.note != nil && bytes.Equal(note, old.note) {
		return Update{Result: found}, nil
	}
	if old.note != nil && found.Origin != old.origin {
		return Update{}, tile.Unchecked(fmt.Errorf("%s holds a copy of %s, and this is %s: give it another folder",
			m.cfg.Dir, old.origin, found.Origin))
	}
	switch {
	case found.Size < old.head.Size:
		return Update{}, m.behind(ctx, old, found, note)
	case found.Size == old.head.Size && found.Root != old.head.Root:
		return Update{}, &InconsistentError{old.head, found.Head, old.note, note, errors.New("two roots of one size")}
	}
	if err := m.extend(ctx, old, found.Head, note); err != nil {
		return Update{}, err
	}
	return Update{Result: found, Added: found.Size - old.head.Size, Changed: true}, nil
}

// A state is the copy as far as an update needs it. An empty folder has no note,
// and the head of the empty tree.
type state struct {
	note   []byte // the signed checkpoint
	origin string
	head   tree.Head
	edge   *tree.Frontier // of the tree with that head
}

// read reads the copy's checkpoint and right edge, which must have its head.
func (m *Mirror) read(ctx context.Context) (state, error) {
	note, err := m.files.ReadCheckpoint(ctx)
	if errors.Is(err, fs.ErrNotExist) {
		return state{head: tree.Empty(), edge: &tree.Frontier{}}, nil
	}
	if err != nil {
		return state{}, err
	}
	// It met the policy of its time.
	c, err := m.cfg.Policy.WithoutWitnesses().Check(note)
	if other, ok := errors.AsType[*policy.UnknownLogError](err); ok && other.Origin == "" {
		return state{}, errors.New("damaged: what stands for its checkpoint is none")
	}
	if err != nil {
		return state{}, err
	}
	edge, err := tree.ReadFrontier(ctx, m.files, c.Size)
	if err == nil && edge.Head() != c.Head {
		err = fmt.Errorf("its tiles have %v, its checkpoint signs %v", edge.Head(), c.Head)
	}
	if err != nil {
		return state{}, fmt.Errorf("damaged: %w; run \"stele check\" for details, or mirror to a new folder", err)
	}
	return state{note, c.Origin, c.Head, edge}, nil
}

// behind returns the error about a checkpoint that is smaller than the copy's: the
// copy's own tiles show whether the two are consistent.
func (m *Mirror) behind(ctx context.Context, old state, found policy.Result, note []byte) error {
	p, err := tree.NewProven(ctx, m.files, old.head)
	if err != nil {
		return fmt.Errorf("the copy in %s: %w", m.cfg.Dir, err)
	}
	hashes, err := proof.Consistency(ctx, p, found.Size, old.head.Size)
	if err != nil {
		return fmt.Errorf("the copy in %s: %w", m.cfg.Dir, err)
	}
	if err := proof.VerifyConsistency(found.Head, old.head, hashes); err != nil {
		return &InconsistentError{old.head, found.Head, old.note, note, err}
	}
	return tile.Unchecked(fmt.Errorf("%w: %d entries, the copy has %d", ErrBehind, found.Size, old.head.Size))
}

// extend proves a new head consistent with the old one, writes the bundles and
// tiles between them, and then the checkpoint. A crash before the last step leaves
// the old copy, with files of the new one that the next update uses.
func (m *Mirror) extend(ctx context.Context, old state, head tree.Head, note []byte) error {
	p, err := tree.NewProven(ctx, m.cfg.Log, head)
	if err != nil {
		return err
	}
	hashes, err := proof.Consistency(ctx, p, old.head.Size, head.Size)
	if err != nil {
		return err
	}
	if err := proof.VerifyConsistency(old.head, head, hashes); err != nil {
		return &InconsistentError{old.head, head, old.note, note, err}
	}
	w := newWriter(m.cfg.FileSystem, m.cfg.Dir)
	err = m.copy(ctx, p, w, old)
	if err := errors.Join(err, w.close()); err != nil {
		return err
	}
	if err := w.sync(); err != nil {
		return err
	}
	// The full tiles are durable, which makes the partial ones superfluous.
	if err := m.removePartial(old.head.Size, head.Size); err != nil {
		return tile.Unchecked(err)
	}
	return tile.Unchecked(durable.Replace(m.cfg.FileSystem, filepath.Join(m.cfg.Dir, "checkpoint"), note, filePerm))
}

// copy writes the bundles and tiles that the copy lacks. The error may be that
// the entries do not lead to the signed head.
func (m *Mirror) copy(ctx context.Context, p *tree.Proven, w *writer, old state) error {
	edge := old.edge.Clone()
	if old.head.Size == p.Head().Size {
		return nil
	}
	for b, err := range m.bundles(ctx, p, old.head.Size) {
		if err != nil {
			return err
		}
		if err := w.put(b.Tile.Path(), b.Data); err != nil {
			return err
		}
		for _, full := range edge.AppendBundle(b) {
			if err := w.put(full.Tile.Path(), full.Data); err != nil {
				return err
			}
		}
		m.cfg.Progress(edge.Size(), p.Head().Size)
	}
	if got := edge.Head(); got != p.Head() {
		return fmt.Errorf("the entries have %v, the checkpoint signs %v", got, p.Head())
	}
	for level := 0; edge.Partial(level) != nil; level++ {
		t, ok := tile.At(level, p.Head().Size>>(8*(level+1)), p.Head().Size)
		if !ok {
			continue // the last tile of the level is full
		}
		if err := w.put(t.Path(), tree.JoinTile(edge.Partial(level))); err != nil {
			return err
		}
	}
	return nil
}

// removePartial removes the partial tiles and bundles at the edge of the old
// tree that are full in the new one.
func (m *Mirror) removePartial(old, size uint64) error {
	for level := tile.Entries; old>>(8*max(level, 0)) > 0; level++ {
		t, ok := tile.At(level, old>>(8*(max(level, 0)+1)), old)
		if !ok || !t.Full().In(size) {
			continue
		}
		dir := filepath.Join(m.cfg.Dir, filepath.FromSlash(t.Full().Path())+".p")
		if err := m.cfg.FileSystem.RemoveAll(dir); err != nil {
			return err
		}
		if err := m.cfg.FileSystem.SyncDir(filepath.Dir(dir)); err != nil {
			return err
		}
	}
	return nil
}
