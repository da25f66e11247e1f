package storage

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"

	"github.com/stele-log/stele/pkg/checkpoint"
	"github.com/stele-log/stele/pkg/heads"
	"github.com/stele-log/stele/pkg/tile"
	"github.com/stele-log/stele/pkg/tree"
)

// historyPage is the number of checkpoints or heads that are read at a time.
const historyPage = 1000

// History returns a log's history of checkpoints, from number 0 on, without
// proofs. It is read as it is used. The error is ErrDamaged if one is stored under
// another size than its note has.
func History(ctx context.Context, l Log) iter.Seq2[heads.Checkpoint, error] {
	return func(yield func(heads.Checkpoint, error) bool) {
		for first := uint64(0); ; {
			page, err := l.Checkpoints(ctx, first, historyPage)
			if err != nil {
				yield(heads.Checkpoint{}, readError(err))
				return
			}
			for _, c := range page {
				if in, err := checkpoint.ParseNote(c.Note); err == nil && in.Size != c.Size {
					yield(heads.Checkpoint{}, fmt.Errorf("checkpoint %d: %w: it is stored as one of size %d, its note has %d",
						c.Number, ErrDamaged, c.Size, in.Size))
					return
				}
				if !yield(heads.Checkpoint{Number: c.Number, Published: c.Published, Note: c.Note}, nil) {
					return
				}
			}
			if len(page) == 0 {
				return
			}
			first += uint64(len(page))
		}
	}
}

// Heads returns a log's heads, from the empty one on. They are read as they are used. The
// error is ErrDamaged if they do not form one line.
func Heads(ctx context.Context, l Log) iter.Seq2[tree.Head, error] {
	return func(yield func(tree.Head, error) bool) {
		var before *CommittedHead
		for first := uint64(0); ; first = before.Size + 1 {
			page, err := l.Heads(ctx, first, historyPage)
			if err != nil {
				yield(tree.Head{}, readError(err))
				return
			}
			for _, h := range page {
				if err := h.follows(before); err != nil {
					yield(tree.Head{}, err)
					return
				}
				before = &h
				if !yield(h.Head, nil) {
					return
				}
			}
			if len(page) == 0 {
				return
			}
		}
	}
}

// follows fails unless the head is the next in the line, or the first if there is none
// before.
func (h CommittedHead) follows(before *CommittedHead) error {
	switch {
	case before == nil && h.Size > 0:
		return fmt.Errorf("head of size 0: %w: it is missing, the first has size %d", ErrDamaged, h.Size)
	case before == nil:
		return nil
	case h.Base != before.Size:
		return fmt.Errorf("head of size %d: %w: it builds on size %d, and the one before it has size %d",
			h.Size, ErrDamaged, h.Base, before.Size)
	case h.Epoch < before.Epoch:
		return fmt.Errorf("head of size %d: %w: it is of epoch %d, and the one before it of epoch %d",
			h.Size, ErrDamaged, h.Epoch, before.Epoch)
	}
	return nil
}

// readError tells an error about what is stored from one that only shows that it could
// not be read; see [tile.ErrUnchecked].
func readError(err error) error {
	if err == nil || errors.Is(err, ErrDamaged) || errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return tile.Unchecked(err)
}
