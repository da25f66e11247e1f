package client

import (
	"context"
	"errors"
	"fmt"
	"runtime"

	"github.com/stele-log/stele/pkg/tile"
	"github.com/stele-log/stele/pkg/tree"
)

// rangeBundles is how many bundles are read in a row, if they can be: enough
// for a query's own cost not to count, few enough for all workers to have some.
const rangeBundles = 128

// A hashedBundle is an entry bundle of which nothing but the hashes is left.
type hashedBundle struct {
	t      tile.Tile
	leaves []tree.Hash
	root   tree.Hash // if it is full
}

// A hashedRange is bundles in a row, up to the first that is not whole.
type hashedRange struct {
	bundles []hashedBundle
	err     error
}

// entries reads and hashes ranges of bundles in parallel, and appends them in
// order.
func (c *checker) entries(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ahead := make(chan chan hashedRange, 4*runtime.GOMAXPROCS(0))
	go func() {
		defer close(ahead)
		for i := uint64(0); ctx.Err() == nil; {
			first, n := c.rangeFrom(i)
			if n == 0 {
				return
			}
			one := make(chan hashedRange, 1)
			ahead <- one
			go func() { one <- c.read(ctx, first, n) }()
			i += n
		}
	}()
	var failed error
	for one := range ahead {
		r := <-one
		for _, b := range r.bundles {
			if failed == nil {
				failed = c.append(ctx, b)
			}
		}
		if failed == nil {
			failed = r.err
		}
		if failed != nil {
			cancel() // and let the reader end
		}
	}
	if failed == nil {
		failed = ctx.Err()
	}
	return failed
}

// rangeFrom returns the bundles to be read in one go from index i on.
func (c *checker) rangeFrom(i uint64) (first tile.Tile, n uint64) {
	first, ok := tile.At(tile.Entries, i, c.head.Size)
	if !ok {
		return first, 0
	}
	if _, ok := c.r.(tile.RangeReader); ok && first.IsFull() {
		return first, min(rangeBundles, c.head.Size/tile.Width-i)
	}
	return first, 1
}

// read hashes n bundles and compares them with the level 0 tiles.
func (c *checker) read(ctx context.Context, first tile.Tile, n uint64) hashedRange {
	r := hashedRange{bundles: make([]hashedBundle, 0, n)}
	next := first
	r.err = c.each(ctx, first, n, func(data []byte) error {
		leaves, err := tree.LeafHashes(data, next.Width)
		if err != nil {
			return fmt.Errorf("%s: %w", next, err)
		}
		b := hashedBundle{t: next, leaves: leaves}
		if next.IsFull() {
			b.root = tree.TileRoot(leaves)
		}
		r.bundles = append(r.bundles, b)
		next.Index++
		return nil
	})
	if r.err != nil {
		r.err = inEntries(next, r.err)
	}
	if whole, err := c.compareLeaves(ctx, r.bundles); err != nil {
		r.bundles, r.err = r.bundles[:whole], err
	}
	return r
}

// each calls f with the bytes of n tiles or bundles in a row. Its errors, but
// for those of f, say which of them cannot be read. What f is given is not to be
// kept, nor to be changed, and f must not read from the log.
func (c *checker) each(ctx context.Context, first tile.Tile, n uint64, f func(data []byte) error) error {
	next := first
	var failed error
	do := func(data []byte) error {
		if next.Index == first.Index+n {
			return fmt.Errorf("the reader gives more than %d in a row", n)
		}
		failed = f(data)
		next.Index++
		return failed
	}
	var err error
	if r, ok := c.r.(tile.RangeReader); ok && first.IsFull() {
		err = r.ReadTiles(ctx, first.Level, first.Index, first.Index+n, do)
	} else {
		var data []byte
		if data, err = c.r.ReadTile(ctx, first); err == nil { // of which there is one
			err = do(data)
		}
	}
	if failed == nil && err == nil && next.Index != first.Index+n {
		err = fmt.Errorf("the reader gives %d in a row, not %d", next.Index-first.Index, n)
	}
	if failed == nil && err != nil {
		return fmt.Errorf("read %s: %w", next, err)
	}
	return failed
}

// compareLeaves compares bundles with the level 0 tiles that go with them, and
// returns how many are whole.
func (c *checker) compareLeaves(ctx context.Context, bundles []hashedBundle) (whole int, err error) {
	if len(bundles) == 0 {
		return 0, nil
	}
	first := bundles[0].t
	first.Level = 0
	var stored []tree.Hash // with which the first bundle that is not whole does not agree
	err = c.each(ctx, first, uint64(len(bundles)), func(data []byte) error {
		b := bundles[whole]
		if !equal(b.leaves, data) {
			t := b.t
			t.Level = 0
			if stored, err = tree.SplitTile(data, t.Width); err != nil {
				return fmt.Errorf("%s: %w", t, err)
			}
			return errDiffer
		}
		whole++
		return nil
	})
	if stored != nil {
		err = c.blame(ctx, bundles[whole], stored)
	}
	return whole, err
}

// errDiffer ends a comparison; it does not leave this package.
var errDiffer = errors.New("the entries and the tile differ")

// equal reports whether the bytes of a tile are these hashes.
func equal(hashes []tree.Hash, data []byte) bool {
	if len(data) != len(hashes)*tree.HashSize {
		return false
	}
	for i, h := range hashes {
		if h != tree.Hash(data[i*tree.HashSize:]) {
			return false
		}
	}
	return true
}
