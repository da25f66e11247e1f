package stele

import (
	"context"
	"fmt"
	"math/rand/v2"

	"github.com/stele-log/stele/pkg/proof"
	"github.com/stele-log/stele/pkg/tree"
	"github.com/stele-log/stele/storage"
	"github.com/stele-log/stele/storage/postgres"
)

// A Stored is a log in PostgreSQL that is read.
type Stored struct {
	log    storage.Log
	head   storage.CommittedHead
	reader *storage.Reader // ReadEntry caches nothing
	close  func() error
}

// OpenStored opens the log that a Log has left in a database.
func OpenStored(ctx context.Context, database string) (*Stored, error) {
	store, err := postgres.Open(ctx, database)
	if err != nil {
		return nil, err
	}
	s := &Stored{close: store.Close}
	if s.log, err = store.OpenLog(ctx, logName); err == nil {
		s.reader = storage.NewReader(s.log, storage.NewCache(0))
		s.head, err = s.log.Head(ctx)
	}
	if err != nil {
		_ = store.Close()
		return nil, err
	}
	return s, nil
}

// Close closes the database.
func (s *Stored) Close() { _ = s.close() }

// Size returns the number of entries.
func (s *Stored) Size() uint64 { return s.head.Size }

// A Prover makes inclusion proofs, out of a cache of its own.
type Prover struct {
	log    *Stored
	reader *storage.Reader
}

// Prover returns a Prover with a cache of so many bytes.
func (s *Stored) Prover(cache int) *Prover {
	return &Prover{s, storage.NewReader(s.log, storage.NewCache(cache))}
}

// Warm brings each tile into the cache.
func (p *Prover) Warm(ctx context.Context) error {
	for index := uint64(0); index < p.log.head.Size; index += 256 {
		if _, err := proof.Inclusion(ctx, p.reader, index, p.log.head.Size); err != nil {
			return err
		}
	}
	return nil
}

// Prove makes the proof of a random entry.
func (p *Prover) Prove(ctx context.Context) error {
	_, err := proof.Inclusion(ctx, p.reader, rand.Uint64N(p.log.head.Size), p.log.head.Size)
	return err
}

// Verify makes proofs of n random entries and checks them.
func (p *Prover) Verify(ctx context.Context, n int) error {
	for range n {
		index := rand.Uint64N(p.log.head.Size)
		hashes, err := proof.Inclusion(ctx, p.reader, index, p.log.head.Size)
		if err != nil {
			return err
		}
		entry, err := p.reader.ReadEntry(ctx, index)
		if err != nil {
			return err
		}
		if err := proof.VerifyInclusion(tree.LeafHash(entry), index, p.log.head.Head, hashes); err != nil {
			return fmt.Errorf("the proof that is measured is wrong: %w", err)
		}
	}
	return nil
}

// ReadEntry reads a random entry from the database.
func (s *Stored) ReadEntry(ctx context.Context) error {
	_, err := s.reader.ReadEntry(ctx, rand.Uint64N(s.head.Size))
	return err
}

// Leaves returns what is hashed into the leaves: each entry with a zero byte
// before it.
func (s *Stored) Leaves(ctx context.Context) ([][]byte, error) {
	var leaves [][]byte
	err := s.log.EachChunk(ctx, 0, s.head.Size, func(c storage.Chunk) error {
		entries, err := c.Entries()
		for _, e := range entries {
			leaves = append(leaves, append([]byte{0}, e...))
		}
		return err
	})
	return leaves, err
}
