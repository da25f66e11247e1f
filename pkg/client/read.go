package client

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"

	"github.com/stele-log/stele/pkg/policy"
	"github.com/stele-log/stele/pkg/tile"
	"github.com/stele-log/stele/pkg/tree"
)

// ErrNoLog means that there is no checkpoint where a log was looked for.
var ErrNoLog = errors.New("there is no log")

// ReadHead reads a log's newest checkpoint and checks it with the policy. The
// Result has the head that [ReadEntries] takes. An error that wraps a
// [*policy.QuorumError] means that the log has signed the checkpoint, and too few
// witnesses have cosigned it. One that wraps [tile.ErrUnchecked], such as ErrNoLog, shows
// nothing about the log.
//
// [tile.ErrUnchecked]: https://pkg.go.dev/github.com/stele-log/stele/pkg/tile#ErrUnchecked
func ReadHead(ctx context.Context, r tile.Reader, p *policy.Policy) (policy.Result, error) {
	msg, err := r.ReadCheckpoint(ctx)
	if errors.Is(err, fs.ErrNotExist) {
		return policy.Result{}, tile.Unchecked(fmt.Errorf("%w: read checkpoint: %w", ErrNoLog, err))
	}
	if err != nil {
		return policy.Result{}, fmt.Errorf("read checkpoint: %w", err)
	}
	return p.Check(msg)
}

// An Entry is an entry and its place in the log.
type Entry struct {
	Index uint64 // from 0
	Data  []byte // its bytes in the log, which package event decodes; not to be changed
}

// ReadEntries reads the entries from start up to but not including end, in
// order, and proves each to be in the tree with the given head. The caller must
// trust the head, as [ReadHead] returns it; r is not trusted. The first error ends
// the sequence and comes with no entry; the entries before it are proven.
//
// A bundle of entries is proven by the tile that has its hash, and that tile by
// the one above it, up to the tiles at the tree's right edge, from which the root
// of the head follows.
func ReadEntries(ctx context.Context, r tile.Reader, head tree.Head, start, end uint64) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		if end > head.Size || start > end {
			yield(Entry{}, fmt.Errorf("read entries %d to %d: the tree has %d", start, end, head.Size))
			return
		}
		if start == end {
			return
		}
		p, err := tree.NewProven(ctx, r, head)
		if err != nil {
			yield(Entry{}, err)
			return
		}
		for start < end {
			t, _ := tile.At(tile.Entries, start/tile.Width, head.Size)
			entries, err := readProven(ctx, r, p, t)
			if err != nil {
				yield(Entry{}, err)
				return
			}
			last := min(end, t.Start()+uint64(t.Width))
			for ; start < last; start++ {
				if !yield(Entry{start, entries[start-t.Start()]}, nil) {
					return
				}
			}
		}
	}
}

// readProven reads the entries of one bundle and proves them.
func readProven(ctx context.Context, r tile.Reader, p *tree.Proven, t tile.Tile) ([][]byte, error) {
	b, err := tree.ReadBundle(ctx, r, t)
	if err != nil {
		return nil, inEntries(t, err)
	}
	if err := p.Check(ctx, b); err != nil {
		return nil, err
	}
	return tile.SplitBundle(b.Data, t.Width)
}

// inEntries adds to an error which entries it is about: those of bundle t.
func inEntries(t tile.Tile, err error) error {
	return fmt.Errorf("entries %d to %d: %w", t.Start(), t.Start()+uint64(t.Width)-1, err)
}
