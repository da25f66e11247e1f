package mirror

import (
	"context"
	"iter"

	"github.com/stele-log/stele/pkg/tile"
	"github.com/stele-log/stele/pkg/tree"
)

// bundles yields the bundles from the one with entry start on, in order, each
// proven.
func (m *Mirror) bundles(ctx context.Context, p *tree.Proven, start uint64) iter.Seq2[tree.Bundle, error] {
	return func(yield func(tree.Bundle, error) bool) {
		for b, err := range tree.Bundles(ctx, resumed{m.cfg.Log, m.files}, start, p.Head().Size) {
			if err == nil {
				b, err = m.prove(ctx, p, b)
			}
			if !yield(b, err) || err != nil {
				return
			}
		}
	}
}

// prove returns the bundle if it is in the tree, or the log's, if that is. The
// one in the folder may be of another tree, which was not followed.
func (m *Mirror) prove(ctx context.Context, p *tree.Proven, b tree.Bundle) (tree.Bundle, error) {
	if err := p.Check(ctx, b); err == nil {
		return b, nil
	}
	b, err := tree.ReadBundle(ctx, m.cfg.Log, b.Tile)
	if err != nil {
		return b, err
	}
	return b, p.Check(ctx, b)
}

// resumed reads a log, but full bundles from the folder of its copy, where an
// update that did not end may have left them.
type resumed struct {
	tile.Reader
	files tile.Reader
}

func (r resumed) ReadTile(ctx context.Context, t tile.Tile) ([]byte, error) {
	if t.IsFull() {
		if data, err := r.files.ReadTile(ctx, t); err == nil && tile.CheckBundle(data, t.Width) == nil {
			return data, nil
		}
	}
	return r.Reader.ReadTile(ctx, t)
}
