// Package tree is the Merkle tree of RFC 6962 over SHA-256: leaf hashes in,
// heads and full tiles out. It does no I/O of its own; what reads a log reads
// through the [tile.Reader] that it is given.
//
//	leaf  = SHA-256(0x00 || entry)
//	node  = SHA-256(0x01 || left || right)
//	empty = SHA-256("")
//
// The tree of n > 1 entries splits after the largest power of two below n, so
// each full subtree, once complete, is part of every later tree. A [Frontier]
// holds what is needed to grow one: the full subtrees at its right edge, and
// the tiles that are not full yet. [Bundles] reads a log's entries and hashes
// them, and [Proven] checks that they are those of a tree.
//
// What always holds:
//   - a Frontier grown in any batches gives the same tiles and the same head;
//   - the work to append is one node hash an entry, the memory a Frontier takes
//     does not depend on the size of its tree (at most 64 KiB);
//   - leaf hashes come from entries that are hashed here; what a reader serves as
//     hashes is taken for those of a tree only by a Proven.
//
// Proofs about a tree are in the package proof.
package tree

import (
	"crypto/sha256"
	"encoding/base64"
	"fmt"

	"github.com/stele-log/stele/pkg/tile"
)

// HashSize is the size of a hash, in bytes.
const HashSize = sha256.Size

// A Hash is a SHA-256 hash of the tree.
type Hash [HashSize]byte

// String returns the hash in standard base64, as it stands in checkpoints.
func (h Hash) String() string { return base64.StdEncoding.EncodeToString(h[:]) }

// AppendText appends the hash as [Hash.String] returns it. It does not fail.
func (h Hash) AppendText(b []byte) ([]byte, error) {
	return base64.StdEncoding.AppendEncode(b, h[:]), nil
}

// MarshalText returns the hash as [Hash.String] does.
func (h Hash) MarshalText() ([]byte, error) { return []byte(h.String()), nil }

// UnmarshalText is ParseHash as [encoding.TextUnmarshaler].
func (h *Hash) UnmarshalText(text []byte) (err error) {
	*h, err = ParseHash(string(text))
	return err
}

// ParseHash parses a hash in standard, padded base64. It accepts only what
// [Hash.String] prints: Go's decoder alone would skip line ends.
func ParseHash(s string) (Hash, error) {
	b, err := base64.StdEncoding.Strict().DecodeString(s)
	if err != nil || len(b) != HashSize || Hash(b).String() != s {
		return Hash{}, fmt.Errorf("hash %.60q is not 32 bytes in standard base64", s)
	}
	return Hash(b), nil
}

// EmptyRoot is the root of the tree without entries, SHA-256("").
//
// SPEC: RFC 6962 section 2.1.
var EmptyRoot = Hash(sha256.Sum256(nil))

// LeafHash returns the leaf hash of an entry, given as it is stored (without
// the length that precedes it in a bundle).
//
// SPEC: RFC 6962 section 2.1.
func LeafHash(entry []byte) Hash { return new(leafHasher).hash(entry) }

// LeafHashes returns the leaf hashes of an entry bundle. It fails unless the
// bundle holds exactly width whole entries.
func LeafHashes(bundle []byte, width int) ([]Hash, error) {
	var leaf leafHasher
	hashes := make([]Hash, 0, width)
	for rest := bundle; len(rest) > 0 || len(hashes) < width; {
		entry, after, ok := tile.CutEntry(rest)
		if !ok || len(hashes) == width {
			return nil, tile.CheckBundle(bundle, width)
		}
		hashes = append(hashes, leaf.hash(entry))
		rest = after
	}
	return hashes, nil
}

// A leafHasher hashes leaves. Its first byte, the prefix of a leaf, stays 0.
type leafHasher [512]byte

func (l *leafHasher) hash(entry []byte) Hash {
	if len(entry) < len(l) { // most are, and are hashed quicker in one piece
		return sha256.Sum256(l[:1+copy(l[1:], entry)])
	}
	d := sha256.New()
	d.Write(l[:1])
	d.Write(entry)
	return Hash(d.Sum(make([]byte, 0, HashSize)))
}

// NodeHash returns the hash of an inner node.
//
// SPEC: RFC 6962 section 2.1.
func NodeHash(left, right Hash) Hash {
	var buf [1 + 2*HashSize]byte
	buf[0] = 1
	copy(buf[1:], left[:])
	copy(buf[1+HashSize:], right[:])
	return sha256.Sum256(buf[:])
}

// A Head is what a tree can be known by: its size and its root. A signed Head
// is a checkpoint.
type Head struct {
	Size uint64 // number of entries
	Root Hash
}

// Empty is the head of the tree without entries.
func Empty() Head { return Head{Root: EmptyRoot} }

func (h Head) String() string { return fmt.Sprintf("size %d root %s", h.Size, h.Root) }
