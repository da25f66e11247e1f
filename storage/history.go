package storage

import (
	"context"
	"iter"

	"github.com/stele-log/stele/pkg/heads"
)

// historyPage is the number of checkpoints that are read at a time.
const historyPage = 1000

// History returns a log's history of checkpoints, from number 0 on, without
// proofs. It is read as it is used.
func History(ctx context.Context, l Log) iter.Seq2[heads.Checkpoint, error] {
	return func(yield func(heads.Checkpoint, error) bool) {
		for first := uint64(0); ; {
			page, err := l.Checkpoints(ctx, first, historyPage)
			if err != nil {
				yield(heads.Checkpoint{}, err)
				return
			}
			for _, c := range page {
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
