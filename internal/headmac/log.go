package headmac

import (
	"context"
	"crypto/hmac"
	"fmt"

	"github.com/stele-log/stele/pkg/tree"
	"github.com/stele-log/stele/storage"
)

// A Log is a stored log whose heads carry MACs. Head and Heads fail with
// storage.ErrDamaged at one that no server of the log has committed.
type Log struct {
	storage.Log
	key Key
}

// Open returns a log whose heads carry MACs under a key.
func Open(l storage.Log, k Key) *Log { return &Log{l, k} }

func (l *Log) Commit(ctx context.Context, batch storage.Batch) error {
	batch.MAC = l.key.Sum(l.Info().Origin, batch.Base, batch.Head)
	return l.Log.Commit(ctx, batch)
}

func (l *Log) Head(ctx context.Context) (storage.CommittedHead, error) {
	head, err := l.Log.Head(ctx)
	if err == nil {
		err = l.check(head)
	}
	return head, err
}

func (l *Log) Heads(ctx context.Context, first uint64, limit int) ([]storage.CommittedHead, error) {
	heads, err := l.Log.Heads(ctx, first, limit)
	for i := 0; i < len(heads) && err == nil; i++ {
		err = l.check(heads[i])
	}
	return heads, err
}

// check fails unless a server of the log has committed the head. The empty tree needs no
// MAC: there is only one.
func (l *Log) check(h storage.CommittedHead) error {
	switch {
	case h.Size == 0 && h.Head == tree.Empty():
		return nil
	case h.MAC == nil && h.Size <= l.key.since:
		return nil
	case hmac.Equal(h.MAC, l.key.Sum(l.Info().Origin, h.Base, h.Head)):
		return nil
	case h.MAC == nil:
		return fmt.Errorf("head of size %d: %w: it has no MAC under this log's head.key: it was added to the database, "+
			"and not by a server", h.Size, storage.ErrDamaged)
	}
	return fmt.Errorf("head of size %d: %w: its MAC is not one under this log's head.key: it was changed or added in the database, "+
		"or a server with another head.key has committed it (the servers of a log need the same)", h.Size, storage.ErrDamaged)
}
