package main

import (
	"context"
	"fmt"
	"iter"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/stele-log/stele/pkg/client"
	"github.com/stele-log/stele/pkg/tile"
	"github.com/stele-log/stele/storage"
)

// A place is where a log can be read, trusting nobody.
type place struct {
	reader  tile.Reader
	history iter.Seq2[client.PastCheckpoint, error] // nil if there is none
	close   func()
}

// openPlace returns the log at a URL, in a folder of tiles, or the one of that
// name in a database: a PostgreSQL URL, or a data folder with SQLite in it. The
// context is that of reading the history.
func openPlace(ctx context.Context, where, name string) (place, error) {
	store := storeFlags{data: where}
	switch {
	case strings.HasPrefix(where, "postgres://") || strings.HasPrefix(where, "postgresql://"):
		store = storeFlags{database: where}
	case strings.HasPrefix(where, "http://") || strings.HasPrefix(where, "https://"):
		reader, c := openLog(where)
		return place{reader, client.History(ctx, c, where), func() {}}, nil
	default:
		if _, err := os.Stat(store.sqlitePath()); err != nil {
			return place{tile.FS(os.DirFS(where)), nil, func() {}}, nil
		}
	}
	db, err := store.open(ctx)
	if err != nil {
		return place{}, err
	}
	l, err := db.OpenLog(ctx, name)
	if err != nil {
		_ = db.Close() // it was only read
		return place{}, fmt.Errorf("%w; choose another with --log", err)
	}
	return place{
		reader:  storage.NewReader(l, storage.NewCache(8<<20)),
		history: storedHistory(ctx, l),
		close:   func() { _ = db.Close() },
	}, nil
}

// storedHistory reads the history of checkpoints in a database.
func storedHistory(ctx context.Context, l storage.Log) iter.Seq2[client.PastCheckpoint, error] {
	return func(yield func(client.PastCheckpoint, error) bool) {
		for next := uint64(0); ; {
			page, err := l.Checkpoints(ctx, next, 1000)
			if err != nil {
				yield(client.PastCheckpoint{}, err)
				return
			}
			for _, c := range page {
				if c.Number != next {
					yield(client.PastCheckpoint{}, fmt.Errorf("checkpoint %d is missing: the next is %d", next, c.Number))
					return
				}
				next++
				if !yield(client.PastCheckpoint{Number: c.Number, Note: c.Note}, nil) {
					return
				}
			}
			if len(page) == 0 {
				return
			}
		}
	}
}

// openLog returns a reader of the log at a URL or in a folder, and what it gets
// a URL with.
func openLog(place string) (tile.Reader, *http.Client) {
	if !strings.HasPrefix(place, "http://") && !strings.HasPrefix(place, "https://") {
		return tile.FS(os.DirFS(place)), nil
	}
	c := &http.Client{Timeout: time.Minute, Transport: &http.Transport{
		Proxy: http.ProxyFromEnvironment, MaxIdleConnsPerHost: 64, DisableCompression: true,
	}}
	return tile.HTTP(c, place), c
}
