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

// chunkLength is the number of entries in a full chunk. A bundle has two: to read
// one entry then costs half as much, they are hardly larger than one chunk, and
// with common events each fits into a page of PostgreSQL.
const chunkLength = tile.Width / 2

// render makes the batch's entries, with one recorded time, and from them its
// leaf hashes and chunks, in parallel.
func (b *builder) render(next *batch) error {
	// The clock may be set back; recorded times never go back while it is.
	if now := b.cfg.Now().UTC().Truncate(time.Microsecond); now.After(b.recorded) {
		b.recorded = now
	}
	next.leaves = make([]tree.Hash, len(next.added))
	next.Chunks = make([]storage.Chunk, 0, len(next.added)/chunkLength+2) // never moves: see the pointers below
	var g errgroup.Group
	g.SetLimit(runtime.GOMAXPROCS(0))
	for done := 0; done < len(next.added); {
		start := next.Base + uint64(done)
		count := min(chunkLength-int(start%chunkLength), len(next.added)-done)
		next.Chunks = append(next.Chunks, storage.Chunk{})
		chunk, from, to := &next.Chunks[len(next.Chunks)-1], done, done+count
		render := func() (err error) {
			*chunk, err = b.renderChunk(next, from, to)
			return err
		}
		if count == len(next.added) {
			return render() // not worth another goroutine
		}
		g.Go(render)
		done = to
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
