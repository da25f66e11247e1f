package api

import (
	"errors"
	"fmt"
	"net/http"

	"github.com/stele-log/stele/internal/access"
	"github.com/stele-log/stele/internal/engine"
	"github.com/stele-log/stele/internal/follow/leafindex"
	"github.com/stele-log/stele/pkg/proof"
	"github.com/stele-log/stele/pkg/tree"
)

// This file serves GET /logs/{log}/proofs/inclusion and .../proofs/consistency, in
// JSON, for clients that do not read tiles; receipts, in entries.go, have their
// proof with them. Proofs are computed from cached tiles, at most 63 hashes each,
// and only in trees that a checkpoint covers. The leaf index finds entries by
// hash; nothing else here asks the database, but for tiles that are not cached.

type inclusionProof struct {
	Index    uint64      `json:"index"`
	Size     uint64      `json:"size"`
	LeafHash tree.Hash   `json:"leaf_hash"`
	Hashes   []tree.Hash `json:"hashes"` // the leaf's sibling first
}

type consistencyProof struct {
	From   uint64      `json:"from"`
	To     uint64      `json:"to"`
	Hashes []tree.Hash `json:"hashes"`
}

// proveInclusion proves that the entry with an index or a leaf hash is in the
// tree of a size, by default that of the newest checkpoint.
func (s *server) proveInclusion(w http.ResponseWriter, r *http.Request, l *engine.Log, permit access.Permit) error {
	size, err := publishedSize(r, l, "size")
	if err != nil {
		return err
	}
	index, err := s.askedIndex(r, l, size)
	if err != nil {
		return err
	}
	if index >= size && permit.Narrowed {
		return leafindex.ErrNotFound // as what is hidden
	}
	if index >= size {
		return badRequest(fmt.Sprintf("there is no entry %d in a tree of size %d", index, size))
	}
	if permit.Narrowed {
		_, err := readEntry(r.Context(), l, index, permit)
		if _, hidden := errors.AsType[hiddenError](err); hidden {
			return hiddenError{leafindex.ErrNotFound} // as by a hash that no entry has
		}
		if err != nil {
			return err
		}
	}
	p := inclusionProof{Index: index, Size: size}
	if p.LeafHash, err = l.Reader.ReadLeaf(r.Context(), index); err != nil {
		return err
	}
	if p.Hashes, err = proof.Inclusion(r.Context(), l.Reader, index, size); err != nil {
		return err
	}
	return reply(w, http.StatusOK, p)
}

// askedIndex returns the index that the query gives, or that of the leaf hash that
// it gives. The error is [leafindex.ErrNotFound] if no entry below size has that
// hash, and [leafindex.ErrBehind] if the index cannot know yet.
func (s *server) askedIndex(r *http.Request, l *engine.Log, size uint64) (uint64, error) {
	q := r.URL.Query()
	switch {
	case q.Has("index") == q.Has("hash"):
		return 0, badRequest("give exactly one of index=<number> and hash=<leaf hash in base64>")
	case q.Has("index"):
		return parseNumber("index", q.Get("index"))
	}
	leaf, err := tree.ParseHash(q.Get("hash"))
	if err != nil {
		return 0, badRequest(err.Error() + " (in a URL, + is written %2B)")
	}
	return s.Leaves.Find(r.Context(), l.Reader, leaf, size)
}

// proveConsistency proves that the tree of one size is a prefix of another's,
// by default that of the newest checkpoint.
func (s *server) proveConsistency(w http.ResponseWriter, r *http.Request, l *engine.Log) error {
	from, err := parseNumber("from", r.URL.Query().Get("from"))
	if err != nil {
		return err
	}
	to, err := publishedSize(r, l, "to")
	if err != nil {
		return err
	}
	if from > to {
		return badRequest(fmt.Sprintf("from=%d is larger than to=%d", from, to))
	}
	hashes, err := proof.Consistency(r.Context(), l.Reader, from, to)
	if err != nil {
		return err
	}
	return reply(w, http.StatusOK, consistencyProof{From: from, To: to, Hashes: hashes})
}

// publishedSize returns the size that the query gives under a name, which must not
// be larger than the newest checkpoint's, or by default the latter.
func publishedSize(r *http.Request, l *engine.Log, name string) (uint64, error) {
	published, err := l.Publisher.Latest()
	if err != nil || !r.URL.Query().Has(name) {
		if err != nil {
			return 0, err
		}
		return published.Size, nil
	}
	size, err := parseNumber(name, r.URL.Query().Get(name))
	if err == nil && size > published.Size {
		err = badRequest(fmt.Sprintf("%s=%d is beyond the newest checkpoint, whose size is %d", name, size, published.Size))
	}
	return size, err
}
