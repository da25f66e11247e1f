package client

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"runtime"

	"github.com/stele-log/stele/pkg/checkpoint"
	"github.com/stele-log/stele/pkg/policy"
	"github.com/stele-log/stele/pkg/tile"
	"github.com/stele-log/stele/pkg/tree"
)

// CheckOptions say what Check does beyond the newest checkpoint.
type CheckOptions struct {
	// History are checkpoints published before, by growing size. Each must be
	// trusted by the policy and agree with the entries.
	History iter.Seq2[PastCheckpoint, error]

	// Progress is called now and then with the number of entries checked.
	Progress func(done, total uint64)
}

// A PastCheckpoint is one of a log's history of checkpoints.
type PastCheckpoint struct {
	Number uint64 // in the history, from 0
	Note   []byte // the signed note
}

// A Report says what Check has found whole.
type Report struct {
	policy.Result        // of the newest checkpoint
	Past          uint64 // checkpoints of the history
}

// Check reads a whole log and hashes everything anew: each entry must have the
// leaf hash in its level 0 tile, each tile the hash that stands in the tile
// above it, the whole the root that is signed. The error names the first place
// that does not fit. All trust rests on the policy.
func Check(ctx context.Context, r tile.Reader, p *policy.Policy, o CheckOptions) (Report, error) {
	result, err := ReadHead(ctx, r, p)
	if err != nil {
		return Report{}, err
	}
	c := &checker{r: r, policy: p, head: result.Head, frontier: &tree.Frontier{}, progress: o.Progress}
	next, stop := iter.Pull2(emptyIfNil(o.History))
	defer stop()
	c.history = next
	if err := c.advance(ctx); err != nil {
		return Report{}, err
	}
	if err := c.entries(ctx); err != nil {
		return Report{}, err
	}
	if err := c.edge(ctx); err != nil {
		return Report{}, err
	}
	if c.frontier.Head() != c.head {
		return Report{}, fmt.Errorf("newest checkpoint: %w", c.disagree(c.head))
	}
	return Report{Result: result, Past: c.past}, nil
}

func emptyIfNil(history iter.Seq2[PastCheckpoint, error]) iter.Seq2[PastCheckpoint, error] {
	if history == nil {
		return func(func(PastCheckpoint, error) bool) {}
	}
	return history
}

type checker struct {
	r        tile.Reader
	policy   *policy.Policy
	head     tree.Head
	frontier *tree.Frontier // over the entries checked so far
	progress func(done, total uint64)

	history func() (PastCheckpoint, error, bool)
	due     *checkpoint.Checkpoint // next of the history, or nil
	number  uint64                 // of due
	past    uint64                 // checkpoints of the history that agree
	agreed  uint64                 // size of the last of them
}

// disagree says that the entries do not have a head that was signed. The tiles
// agree with the entries, so that nothing tells which entry it is, but that
// those below the last checkpoint that agrees are whole.
func (c *checker) disagree(signed tree.Head) error {
	return fmt.Errorf("it signs %v, but the entries have %v: one of the entries %d to %d was changed, "+
		"or another history was signed", signed, c.frontier.Head(), c.agreed, max(signed.Size, 1)-1)
}

// bundlesAtOnce is the number of bundles that are read at once where the reader
// has ranges.
const bundlesAtOnce = 32

// A stretch is some entry bundles that were read and compared with their level 0
// tiles. Nothing but the leaf hashes is left of them.
type stretch struct {
	leaves []tree.Hash
	err    error // what is wrong after those
}

// entries reads and hashes bundles in parallel, and appends them in order.
func (c *checker) entries(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ahead := make(chan chan stretch, 4*runtime.GOMAXPROCS(0))
	go func() {
		defer close(ahead)
		bundles := (c.head.Size + tile.Width - 1) / tile.Width
		step := uint64(1)
		if _, ok := c.r.(tile.RangeReader); ok {
			step = bundlesAtOnce
		}
		for start := uint64(0); start < bundles && ctx.Err() == nil; start += step {
			one := make(chan stretch, 1)
			ahead <- one
			go func() { one <- c.read(ctx, start, min(start+step, bundles)) }()
		}
	}()
	var failed error
	for one := range ahead {
		s := <-one
		if failed != nil {
			continue // let the reader end
		}
		if failed = c.append(ctx, s.leaves); failed == nil {
			failed = s.err
		}
		if failed != nil {
			cancel()
		}
	}
	if failed == nil {
		failed = ctx.Err()
	}
	return failed
}

// read reads the bundles from start up to but not including end.
func (c *checker) read(ctx context.Context, start, end uint64) stretch {
	if r, ok := c.r.(tile.RangeReader); ok && end*tile.Width <= c.head.Size {
		if leaves, ok := c.readRange(ctx, r, start, end); ok {
			return stretch{leaves: leaves}
		}
		// One by one, it shows what is wrong where.
	}
	var s stretch
	for ; start < end && s.err == nil; start++ {
		t, _ := tile.At(tile.Entries, start, c.head.Size)
		var leaves []tree.Hash
		if leaves, s.err = c.readBundle(ctx, t); s.err == nil {
			s.leaves = append(s.leaves, leaves...)
		}
	}
	return s
}

// readRange reads full bundles and their tiles. It returns false if it cannot,
// or if they do not agree.
func (c *checker) readRange(ctx context.Context, r tile.RangeReader, start, end uint64) (leaves []tree.Hash, ok bool) {
	leaves = make([]tree.Hash, 0, (end-start)*tile.Width)
	err := r.ReadRange(ctx, tile.Entries, start, end, func(bundle []byte) (err error) {
		leaves, err = appendLeaves(leaves, bundle, tile.Width)
		return err
	})
	if err != nil {
		return nil, false
	}
	rest := leaves
	err = r.ReadRange(ctx, 0, start, end, func(data []byte) error {
		for i := range tile.Width {
			if len(data) != tile.Width*tree.HashSize || rest[i] != tree.Hash(data[i*tree.HashSize:]) {
				return errors.New("differs")
			}
		}
		rest = rest[tile.Width:]
		return nil
	})
	return leaves, err == nil
}

// readBundle reads one bundle and its tile.
func (c *checker) readBundle(ctx context.Context, t tile.Tile) ([]tree.Hash, error) {
	_, leaves, err := readBundle(ctx, c.r, t)
	if err != nil {
		return nil, err
	}
	hashes := t
	hashes.Level = 0
	stored, err := tree.ReadTile(ctx, c.r, hashes)
	if err != nil {
		return nil, err
	}
	for i, leaf := range leaves {
		if leaf != stored[i] {
			return nil, c.blame(ctx, t, leaves, stored, i)
		}
	}
	return leaves, nil
}

// append adds leaf hashes to the tree and compares the tiles that it makes full.
func (c *checker) append(ctx context.Context, leaves []tree.Hash) error {
	for len(leaves) > 0 {
		n := len(leaves)
		if c.due != nil {
			n = int(min(uint64(n), c.due.Size-c.frontier.Size()))
		}
		for _, full := range c.frontier.Append(leaves[:n]) {
			if err := c.tile(ctx, full); err != nil {
				return err
			}
		}
		leaves = leaves[n:]
		if err := c.advance(ctx); err != nil {
			return err
		}
	}
	if c.progress != nil {
		c.progress(c.frontier.Size(), c.head.Size)
	}
	return nil
}

// blame says which of an entry and the tile that does not have its leaf hash is
// not what it was, where the tile above can tell.
func (c *checker) blame(ctx context.Context, t tile.Tile, leaves, stored []tree.Hash, i int) error {
	index := t.Start() + uint64(i)
	hashes := t
	hashes.Level = 0
	differ := fmt.Sprintf("the entry's leaf hash is %s, %s has %s", leaves[i], hashes, stored[i])
	above, ok := tile.At(1, t.Index/tile.Width, c.head.Size)
	if t.IsFull() && ok {
		parent, err := tree.ReadTile(ctx, c.r, above)
		switch {
		case err != nil:
		case parent[t.Index%tile.Width] == tree.TileRoot(leaves):
			return fmt.Errorf("entry %d: %s was changed at hash %d: %s", index, hashes, i, differ)
		case parent[t.Index%tile.Width] == tree.TileRoot(stored):
			return fmt.Errorf("entry %d was changed: %s", index, differ)
		}
	}
	return fmt.Errorf("entry %d: the entry or its tile was changed: %s", index, differ)
}

// tile compares a full tile above level 0 with the one that the log has; those
// at level 0 were compared before.
func (c *checker) tile(ctx context.Context, full tree.FullTile) error {
	if full.Tile.Level == 0 {
		return nil
	}
	want, err := tree.SplitTile(full.Data, tile.Width)
	if err != nil {
		return err
	}
	return c.compare(ctx, full.Tile, want)
}

// edge compares the partial tiles above level 0.
func (c *checker) edge(ctx context.Context) error {
	for level := 1; ; level++ {
		want := c.frontier.Partial(level)
		if want == nil {
			return nil
		}
		if len(want) == 0 {
			continue
		}
		t, _ := tile.At(level, c.head.Size>>(8*(level+1)), c.head.Size)
		if err := c.compare(ctx, t, want); err != nil {
			return err
		}
	}
}

func (c *checker) compare(ctx context.Context, t tile.Tile, want []tree.Hash) error {
	got, err := tree.ReadTile(ctx, c.r, t)
	if err != nil {
		return err
	}
	below := uint64(1) << (8 * t.Level)
	for i := range want {
		if got[i] != want[i] {
			first := t.Start() + uint64(i)*below
			return fmt.Errorf("%s was changed at hash %d, over entries %d to %d: it has %s, the entries give %s",
				t, i, first, first+below-1, got[i], want[i])
		}
	}
	return nil
}

// advance compares the checkpoints of the history that have the size reached,
// and finds the next.
func (c *checker) advance(ctx context.Context) error {
	for ctx.Err() == nil {
		if c.due != nil {
			if c.due.Size > c.frontier.Size() {
				return nil
			}
			if got := c.frontier.Head(); got != c.due.Head {
				return fmt.Errorf("checkpoint %d: %w", c.number, c.disagree(c.due.Head))
			}
			c.agreed, c.due = c.due.Size, nil
			c.past++
		}
		past, err, ok := c.history()
		if err != nil {
			return fmt.Errorf("read history of checkpoints: %w", err)
		}
		if !ok {
			return nil
		}
		result, err := c.policy.Check(past.Note)
		if err != nil {
			return fmt.Errorf("checkpoint %d: %w", past.Number, err)
		}
		if result.Size > c.head.Size {
			return nil // published since the check began
		}
		if result.Size < c.frontier.Size() {
			return fmt.Errorf("checkpoint %d: its size, %d, is smaller than that of one before", past.Number, result.Size)
		}
		c.due, c.number = &result.Checkpoint, past.Number
	}
	return ctx.Err()
}
