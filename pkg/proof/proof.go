// Package proof makes and checks proofs about the tree of a log: that an entry
// is in it (inclusion), and that one tree is a prefix of another (consistency),
// by RFC 6962 sections 2.1.1 and 2.1.2. It also reads and writes receipts, which
// have everything needed to check one entry offline, in the format of C2SP
// tlog-proof (https://c2sp.org/tlog-proof).
//
// What always holds:
//   - verifying takes sizes, roots and keys from the caller, never from a proof,
//     and hashes the entry itself;
//   - no proof has more than [MaxHashes] hashes;
//   - a Receipt has one text, and [ParseReceipt] accepts no other spelling.
//
// All functions are safe for concurrent use.
package proof

import (
	"context"
	"fmt"

	"github.com/transparency-dev/merkle/compact"
	"github.com/transparency-dev/merkle/proof"

	"github.com/stele-log/stele/pkg/tile"
	"github.com/stele-log/stele/pkg/tree"
)

// MaxHashes is the number of hashes in the longest proof: trees have at most
// 2^63-1 entries.
const MaxHashes = 63

// Inclusion returns the proof that the entry at index is in the tree of the
// given size: the leaf's sibling first, the root's child last. It reads from r
// full subtrees of that tree only.
//
// SPEC: RFC 6962 section 2.1.1.
func Inclusion(ctx context.Context, r tree.NodeReader, index, size uint64) ([]tree.Hash, error) {
	if index >= size {
		return nil, fmt.Errorf("inclusion proof: there is no entry at index %d in a tree of size %d", index, size)
	}
	nodes, err := proof.Inclusion(index, size)
	if err != nil {
		return nil, fmt.Errorf("inclusion proof: %w", err)
	}
	hashes, err := read(ctx, r, nodes)
	if err != nil {
		return nil, fmt.Errorf("inclusion proof of index %d in size %d: %w", index, size, err)
	}
	return hashes, nil
}

// Consistency returns the proof that the tree of size from is a prefix of the
// tree of size to. It is empty if the sizes are equal, and if from is 0: every
// tree is consistent with the empty one.
//
// SPEC: RFC 6962 section 2.1.2.
func Consistency(ctx context.Context, r tree.NodeReader, from, to uint64) ([]tree.Hash, error) {
	if from > to {
		return nil, fmt.Errorf("consistency proof: size %d is larger than size %d", from, to)
	}
	nodes, err := proof.Consistency(from, to)
	if err != nil {
		return nil, fmt.Errorf("consistency proof: %w", err)
	}
	hashes, err := read(ctx, r, nodes)
	if err != nil {
		return nil, fmt.Errorf("consistency proof from size %d to %d: %w", from, to, err)
	}
	return hashes, nil
}

// read returns the hashes of a proof's nodes. One of them at most, at the right
// edge, is not a full subtree: its hash is made from those of the full subtrees
// below it, which stand in IDs[begin:end], the rightmost first.
func read(ctx context.Context, r tree.NodeReader, nodes proof.Nodes) ([]tree.Hash, error) {
	hashes := make([]tree.Hash, len(nodes.IDs))
	if err := readNodes(ctx, r, nodes.IDs, hashes); err != nil {
		return nil, err
	}
	_, begin, end := nodes.Ephem()
	if begin == end {
		return hashes, nil
	}
	for _, left := range hashes[begin+1 : end] {
		hashes[begin] = tree.NodeHash(left, hashes[begin])
	}
	return append(hashes[:begin+1], hashes[end:]...), nil
}

// readNodes sets the hash of each node. From one tile it takes all nodes that
// follow each other: those of a proof come by height.
func readNodes(ctx context.Context, r tree.NodeReader, ids []compact.NodeID, hashes []tree.Hash) error {
	for len(ids) > 0 {
		n, err := readTile(ctx, r, ids, hashes)
		if err != nil {
			return fmt.Errorf("read subtree of 2^%d entries at %d: %w", ids[0].Level, ids[0].Index, err)
		}
		ids, hashes = ids[n:], hashes[n:]
	}
	return nil
}

// readTile sets the hashes of the first node and of those that follow it in the
// same tile, and returns how many.
func readTile(ctx context.Context, r tree.NodeReader, ids []compact.NodeID, hashes []tree.Hash) (n int, err error) {
	t, h, i := tree.Locate(ids[0].Level, ids[0].Index)
	nodes, err := r.ReadNodes(ctx, t)
	if err != nil {
		return 0, err
	}
	for {
		var ok bool
		if hashes[n], ok = nodes.Node(h, i); !ok && n == 0 {
			return 0, fmt.Errorf("%s has only %d hashes", t, nodes.Width())
		} else if !ok {
			return n, nil // the tile has grown since it was kept
		}
		if n++; n == len(ids) {
			return n, nil
		}
		var next tile.Tile
		next, h, i = tree.Locate(ids[n].Level, ids[n].Index)
		if next.Level != t.Level || next.Index != t.Index {
			return n, nil
		}
	}
}
