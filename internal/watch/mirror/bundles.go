package mirror

import (
	"context"
	"fmt"

	"github.com/stele-log/stele/pkg/tile"
	"github.com/stele-log/stele/pkg/tree"
)

// ahead is the number of bundles that are fetched at once; each has at most 16
// MiB, and mostly a hundredth of it.
const ahead = 16

// A bundle is an entry bundle that was proven.
type bundle struct {
	t      tile.Tile
	data   []byte
	leaves []tree.Hash
	err    error
}

// bundles fetches the bundles from the one with entry start on, several at once,
// and calls f with each, in order, once it is proven.
func (m *Mirror) bundles(ctx context.Context, p *tree.Proven, start uint64, f func(bundle) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	queue := make(chan chan bundle, ahead)
	go m.fetch(ctx, p, start/tile.Width, queue)
	var failed error
	for one := range queue {
		b := <-one
		if failed != nil {
			continue // let those who fetch end
		}
		if failed = b.err; failed == nil {
			failed = f(b)
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

// fetch begins to fetch bundles, from index i on, until there are no more.
func (m *Mirror) fetch(ctx context.Context, p *tree.Proven, i uint64, queue chan<- chan bundle) {
	defer close(queue)
	for ; ctx.Err() == nil; i++ {
		t, ok := tile.At(tile.Entries, i, p.Head().Size)
		if !ok {
			return
		}
		one := make(chan bundle, 1)
		queue <- one
		if !t.IsFull() {
			want, err := p.Hashes(ctx, 0, i)
			if err != nil {
				one <- bundle{err: err}
				return
			}
			go func() { one <- m.edgeBundle(ctx, t, want) }()
			continue
		}
		root, err := p.Root(ctx, 0, i)
		if err != nil {
			one <- bundle{err: err}
			return
		}
		go func() { one <- m.fullBundle(ctx, t, root) }()
	}
}

// fullBundle returns a full bundle, from the folder if an update that did not
// end has left it there.
func (m *Mirror) fullBundle(ctx context.Context, t tile.Tile, root tree.Hash) bundle {
	if b := readBundle(ctx, m.files, t); b.err == nil && tree.TileRoot(b.leaves) == root {
		return b
	}
	b := readBundle(ctx, m.cfg.Log, t)
	if b.err != nil || tree.TileRoot(b.leaves) == root {
		return b
	}
	level0 := t
	level0.Level = 0
	hashes, err := tree.ReadTile(ctx, m.cfg.Log, level0)
	if err == nil && tree.TileRoot(hashes) == root {
		b.err = compare(b, hashes)
	} else {
		b.err = fmt.Errorf("entries %d to %d are not those in the tree: their hash is %s, want %s",
			t.Start(), t.Start()+tile.Width-1, tree.TileRoot(b.leaves), root)
	}
	return b
}

// edgeBundle returns the bundle that is not full.
func (m *Mirror) edgeBundle(ctx context.Context, t tile.Tile, want []tree.Hash) bundle {
	b := readBundle(ctx, m.cfg.Log, t)
	if b.err == nil {
		b.err = compare(b, want)
	}
	return b
}

// compare names the first entry of a bundle that is not the one in the tree.
func compare(b bundle, want []tree.Hash) error {
	for i, leaf := range b.leaves {
		if leaf != want[i] {
			return fmt.Errorf("entry %d is not the one in the tree: its leaf hash is %s, want %s",
				b.t.Start()+uint64(i), leaf, want[i])
		}
	}
	return nil
}

func readBundle(ctx context.Context, r tile.Reader, t tile.Tile) bundle {
	data, err := r.ReadTile(ctx, t)
	if err != nil {
		return bundle{err: fmt.Errorf("read %s: %w", t, err)}
	}
	leaves, err := tree.LeafHashes(data, t.Width)
	if err != nil {
		return bundle{err: fmt.Errorf("%s: %w", t, err)}
	}
	return bundle{t: t, data: data, leaves: leaves}
}
