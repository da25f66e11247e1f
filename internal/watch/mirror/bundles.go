package mirror

import (
	"context"
	"iter"

	"github.com/stele-log/stele/pkg/tile"
	"github.com/stele-log/stele/pkg/tree"
)

// bundles yields the bundles of the tree, in order and proven, beginning with the
// one that holds the entry start. It ends after an error.
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

// prove returns the bundle if it is in the tree, or else reads it from the log. A
// bundle in the folder may be of another tree: an interrupted update may have
// fetched it for a head that the new one does not continue.
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

// resumed reads a log, except that it takes full bundles from the copy's folder if
// an interrupted update has left them there.
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
