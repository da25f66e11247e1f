package restore

import (
	"context"
	"fmt"

	"github.com/stele-log/stele/pkg/client"
	"github.com/stele-log/stele/pkg/tile"
	"github.com/stele-log/stele/pkg/tree"
	"github.com/stele-log/stele/storage"
)

const (
	enough        = 64 * tile.Width // entries in a commit
	enoughBytes   = 16 << 20
	frontierCache = 1 << 20 // bytes
)

// run commits the entries that the log lacks, with its history. Like a sequencer it
// first compares the stored tree with the stored head, so that it never builds on a
// damaged log.
func (r *restorer) run(ctx context.Context) error {
	lease, err := r.log.Lead(ctx, "stele restore")
	if err != nil {
		return err
	}
	defer lease.Release()
	edge, err := tree.ReadFrontier(ctx, storage.NewReader(r.log, storage.NewCache(frontierCache)), r.base.Size)
	if err != nil {
		return err
	}
	if edge.Head() != r.base {
		return fmt.Errorf("%w: the tree that is stored has %v, but the head that is stored is %v",
			storage.ErrDamaged, edge.Head(), r.base)
	}
	h, err := r.openHistory(ctx)
	if err != nil {
		return err
	}
	if err := h.store(ctx, edge.Size()); err != nil {
		return err
	}
	b := &batch{log: r.log, epoch: lease.Epoch(), edge: edge, base: edge.Size()}
	for e, err := range client.ReadEntries(ctx, r.cfg.Copy, r.head, edge.Size(), r.head.Size) {
		if err != nil {
			return err
		}
		if err := b.add(e.Data); err != nil {
			return err
		}
		size := e.Index + 1
		if size < h.due() && !b.full() {
			continue
		}
		if err := b.commit(ctx); err != nil {
			return err
		}
		if err := h.store(ctx, size); err != nil {
			return err
		}
		r.cfg.Progress("restoring", size, r.head.Size)
	}
	r.restored.Added = r.head.Size - r.base.Size
	return nil
}

// A batch is the content of the next commit: entries, cut into chunks, and the tree
// over them. A restore does not index them; the sequencer does when it starts.
type batch struct {
	log    storage.Log
	epoch  uint64
	edge   *tree.Frontier // of the committed tree
	base   uint64
	leaves []tree.Hash
	chunks []storage.Chunk
	bundle []byte // of the chunk that is not in chunks yet
	count  int    // entries in bundle
	bytes  int
}

func (b *batch) add(entry []byte) (err error) {
	if b.bundle, err = tile.AppendEntry(b.bundle, entry); err != nil {
		return err
	}
	b.count++
	b.bytes += len(entry)
	b.leaves = append(b.leaves, tree.LeafHash(entry))
	if b.base+uint64(len(b.leaves)) == storage.ChunkEnd(b.chunkStart()) {
		b.endChunk()
	}
	return nil
}

// chunkStart returns the index of the first entry in bundle.
func (b *batch) chunkStart() uint64 { return b.base + uint64(len(b.leaves)-b.count) }

func (b *batch) endChunk() {
	start := b.chunkStart()
	b.chunks = append(b.chunks, storage.EncodeChunk(start, b.count, b.bundle))
	b.bundle, b.count = b.bundle[:0], 0
}

// full reports whether the batch is large enough, and ends with a whole chunk.
func (b *batch) full() bool {
	return b.count == 0 && (len(b.leaves) >= enough || b.bytes >= enoughBytes)
}

// commit makes the batch durable and empties it for the next.
func (b *batch) commit(ctx context.Context) error {
	if b.count > 0 {
		b.endChunk()
	}
	tiles := b.edge.Append(b.leaves)
	head := b.edge.Head()
	err := b.log.Commit(ctx, storage.Batch{Epoch: b.epoch, Base: b.base, Head: head, Chunks: b.chunks, Tiles: tiles})
	b.base, b.leaves, b.chunks, b.bytes = head.Size, b.leaves[:0], nil, 0
	return err
}
