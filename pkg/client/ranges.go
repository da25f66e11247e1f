package client

import (
	"context"
	"errors"
	"fmt"
	"runtime"

	"github.com/stele-log/stele/pkg/internal/inorder"
	"github.com/stele-log/stele/pkg/tile"
	"github.com/stele-log/stele/pkg/tree"
)

// rangeBundles is how many bundles are read in a row, if they can be: enough
// for a query's own cost not to count, few enough for all workers to have some.
const rangeBundles = 128

// A tileRange is tiles or bundles in a row: n from the first on.
type tileRange struct {
	first tile.Tile
	n     uint64
}

// entries reads and hashes ranges of bundles in parallel, and appends them in
// order.
func (c *checker) entries(ctx context.Context) error {
	for bundles, err := range inorder.Map(ctx, 4*runtime.GOMAXPROCS(0), c.ranges, c.read) {
		for _, b := range bundles {
			if err := c.append(ctx, b); err != nil {
				return err
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// ranges yields what is to be read in one go, in order.
func (c *checker) ranges(yield func(tileRange) bool) {
	_, inARow := c.r.(tile.RangeReader)
	for i := uint64(0); ; {
		first, ok := tile.At(tile.Entries, i, c.head.Size)
		n := uint64(1)
		if inARow && first.IsFull() {
			n = min(rangeBundles, c.head.Size/tile.Width-i)
		}
		if !ok || !yield(tileRange{first, n}) {
			return
		}
		i += n
	}
}

// read hashes the bundles of a range and compares them with the level 0 tiles. It
// returns those up to the first that is not whole, without their bytes, and what
// is wrong with that one.
func (c *checker) read(ctx context.Context, in tileRange) ([]tree.Bundle, error) {
	bundles := make([]tree.Bundle, 0, in.n)
	next := in.first
	err := c.each(ctx, in, func(data []byte) error {
		b, err := tree.HashBundle(next, data)
		if err != nil {
			return err
		}
		b.Data = nil // may be overwritten
		bundles = append(bundles, b)
		next.Index++
		return nil
	})
	if err != nil {
		err = inEntries(next, err)
	}
	if whole, err := c.compareLeaves(ctx, bundles); err != nil {
		return bundles[:whole], err
	}
	return bundles, err
}

// each calls f with the bytes of the tiles or bundles of a range. Its errors, but
// for those of f, say which of them cannot be read. What f is given is not to be
// kept, nor to be changed, and f must not read from the log.
func (c *checker) each(ctx context.Context, in tileRange, f func(data []byte) error) error {
	next, end := in.first, in.first.Index+in.n
	var failed error
	do := func(data []byte) error {
		if next.Index == end {
			return fmt.Errorf("the reader gives more than %d in a row", in.n)
		}
		failed = f(data)
		next.Index++
		return failed
	}
	var err error
	if r, ok := c.r.(tile.RangeReader); ok && next.IsFull() {
		err = r.ReadTiles(ctx, next.Level, next.Index, end, do)
	} else {
		var data []byte
		if data, err = c.r.ReadTile(ctx, next); err == nil { // of which there is one
			err = do(data)
		}
	}
	if failed == nil && err == nil && next.Index != end {
		err = fmt.Errorf("the reader gives %d in a row, not %d", next.Index-in.first.Index, in.n)
	}
	if failed == nil && err != nil {
		return fmt.Errorf("read %s: %w", next, err)
	}
	return failed
}

// compareLeaves compares bundles with the level 0 tiles that go with them, and
// returns how many are whole.
func (c *checker) compareLeaves(ctx context.Context, bundles []tree.Bundle) (whole int, err error) {
	if len(bundles) == 0 {
		return 0, nil
	}
	tiles := tileRange{bundles[0].Tile, uint64(len(bundles))}
	tiles.first.Level = 0
	var stored []tree.Hash // with which the first bundle that is not whole does not agree
	err = c.each(ctx, tiles, func(data []byte) error {
		b := bundles[whole]
		if !equal(b.Leaves, data) {
			t := b.Tile
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
