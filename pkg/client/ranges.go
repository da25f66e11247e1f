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

// rangeBundles is the number of bundles that are read in one query, if the reader
// can: enough for the cost of a query not to matter, and few enough to keep all
// workers busy.
const rangeBundles = 128

// A tileRange is n adjacent tiles or bundles, from the first on.
type tileRange struct {
	first tile.Tile
	n     uint64
}

// entries reads and hashes ranges of bundles in parallel, and appends them to the
// tree in order. It is where Check spends its time.
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

// ranges yields the ranges that cover the log, in order. The partial bundle at its
// end is a range of its own, and so is every bundle if the reader takes only one
// at a time.
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

// read reads the bundles of a range, hashes them, and compares them with the level
// 0 tiles. It returns those before the first bad one, without their bytes, and the
// error about that one.
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

// each calls f with the bytes of each tile or bundle of a range, in order. It
// returns f's error as it is; its own names the tile that cannot be read. f must
// neither keep nor change the bytes, and must not read from the log: the reader
// may hold its only connection meanwhile.
func (c *checker) each(ctx context.Context, in tileRange, f func(data []byte) error) error {
	next, end := in.first, in.first.Index+in.n
	var failed error
	do := func(data []byte) error {
		if next.Index == end {
			return fmt.Errorf("the reader returned more than the %d tiles asked for", in.n)
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
		if data, err = c.r.ReadTile(ctx, next); err == nil { // then in.n is 1
			err = do(data)
		}
	}
	if failed == nil && err == nil && next.Index != end {
		err = fmt.Errorf("the reader returned %d tiles, not the %d asked for", next.Index-in.first.Index, in.n)
	}
	if failed == nil && err != nil {
		return fmt.Errorf("read %s: %w", next, err)
	}
	return failed
}

// compareLeaves compares bundles with the level 0 tiles over them, and returns how
// many agree before the first that does not.
func (c *checker) compareLeaves(ctx context.Context, bundles []tree.Bundle) (whole int, err error) {
	if len(bundles) == 0 {
		return 0, nil
	}
	tiles := tileRange{bundles[0].Tile, uint64(len(bundles))}
	tiles.first.Level = 0
	var stored []tree.Hash // the tile that does not agree with its bundle
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

// errDiffer ends a comparison. It is replaced by what blame finds, which reads from
// the log and therefore has to wait until each has returned.
var errDiffer = errors.New("the entries and the tile differ")

// equal reports whether the bytes of a tile are these hashes. It compares without
// parsing, since almost all tiles are equal.
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
