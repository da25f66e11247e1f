package sequencer

import (
	"fmt"
	"runtime"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/stele-log/stele/pkg/tile"
	"github.com/stele-log/stele/pkg/tree"
	"github.com/stele-log/stele/storage"
)

// render makes the batch's entries, with one recorded time, and from them its
// leaf hashes and chunks, in parallel.
func (b *builder) render(next *batch) error {
	// The clock may be set back; recorded times never go back while it is.
	if now := b.cfg.Now().UTC().Truncate(time.Microsecond); now.After(b.recorded) {
		b.recorded = now
	}
	next.leaves = make([]tree.Hash, len(next.added))
	var cuts []int // where the chunks begin among the added, and the end
	for at := 0; at < len(next.added); at = int(storage.ChunkEnd(next.Base+uint64(at)) - next.Base) {
		cuts = append(cuts, at)
	}
	next.Chunks = make([]storage.Chunk, len(cuts))
	cuts = append(cuts, len(next.added))
	render := func(i int) (err error) {
		next.Chunks[i], err = b.renderChunk(next, cuts[i], cuts[i+1])
		return err
	}
	if len(next.Chunks) == 1 {
		return render(0) // not worth another goroutine
	}
	var g errgroup.Group
	g.SetLimit(runtime.GOMAXPROCS(0))
	for i := range next.Chunks {
		g.Go(func() error { return render(i) })
	}
	return g.Wait()
}

// bundles holds the buffers in which bundles are put together: 64 KiB or so.
var bundles = sync.Pool{New: func() any { return new([]byte) }}

// renderChunk makes the chunk of the batch's new entries from up to but not
// including to, and sets their leaf hashes.
func (b *builder) renderChunk(next *batch, from, to int) (storage.Chunk, error) {
	buf := bundles.Get().(*[]byte)
	defer bundles.Put(buf)
	bundle := (*buf)[:0]
	for i := from; i < to; i++ {
		at := len(bundle)
		bundle = next.added[i].AppendEntry(append(bundle, 0, 0), b.recorded)
		n := len(bundle) - at - 2
		if n > tile.MaxEntry {
			return storage.Chunk{}, fmt.Errorf("entry of %d bytes: a bundle holds at most %d", n, tile.MaxEntry)
		}
		bundle[at], bundle[at+1] = byte(n>>8), byte(n)
		next.leaves[i] = tree.LeafHash(bundle[at+2:])
	}
	*buf = bundle
	return storage.EncodeChunk(next.Base+uint64(from), to-from, bundle), nil
}
