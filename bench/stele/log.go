// Package stele runs logs of Stele in process, with everything on that a server
// has on: JSON checks, exact deduplication, recorded time, durable commits,
// signed checkpoints at most once a second, and the followers.
package stele

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"time"

	"github.com/stele-log/stele/bench/events"
	"github.com/stele-log/stele/bench/measure"
	"github.com/stele-log/stele/internal/engine"
	"github.com/stele-log/stele/internal/follow"
	"github.com/stele-log/stele/internal/follow/leafindex"
	"github.com/stele-log/stele/internal/keyindex"
	"github.com/stele-log/stele/pkg/event"
	"github.com/stele-log/stele/storage"
	"github.com/stele-log/stele/storage/postgres"
	"github.com/stele-log/stele/storage/sqlite"
)

// Config says what log to run.
type Config struct {
	Database  string // URL of a PostgreSQL database; SQLite if empty
	Dir       string // for keys, and for SQLite
	Witnessed bool   // sign with ML-DSA-44 too, and have a witness cosign
}

// A Log is one that runs.
type Log struct {
	*engine.Log
	close []func()
}

const (
	logName = "default"
	origin  = "logs.example.com/default"

	interval = time.Second
	cache    = 64 << 20 // bytes, as `stele serve` has it
	patience = time.Minute
)

// Open makes a log in a new database and runs it.
func Open(ctx context.Context, cfg Config) (_ *Log, err error) {
	l := &Log{}
	defer func() {
		if err != nil {
			l.Close()
		}
	}()
	store, err := openStore(ctx, cfg)
	if err != nil {
		return nil, err
	}
	l.closes(func() { _ = store.Close() })
	hostConfig := engine.Config{Store: store, Dir: cfg.Dir, Interval: interval, Cache: cache,
		Logger: slog.New(slog.DiscardHandler), Now: time.Now, Followers: []follow.Follower{leafindex.New()}}
	var w *witnessServer
	if cfg.Witnessed {
		if w, err = startWitness(ctx, filepath.Join(cfg.Dir, "witness.db")); err != nil {
			return nil, err
		}
		l.closes(w.close)
		hostConfig.Witnesses.Policy = w.policy
	}
	h, err := engine.Open(ctx, hostConfig)
	if err != nil {
		return nil, err
	}
	run, stop := context.WithCancel(context.WithoutCancel(ctx))
	h.Start(run)
	l.closes(func() {
		stop()
		h.Wait()
	})
	if l.Log, err = h.Create(ctx, engine.NewLog{Name: logName, Origin: origin, MLDSA44: cfg.Witnessed}); err != nil {
		return nil, err
	}
	if w != nil {
		return l, w.follow(ctx, l.Origin, l.VKeys)
	}
	return l, nil
}

func openStore(ctx context.Context, cfg Config) (storage.Store, error) {
	if cfg.Database != "" {
		if _, _, err := postgres.Migrate(ctx, cfg.Database, ""); err != nil {
			return nil, err
		}
		return postgres.Open(ctx, cfg.Database)
	}
	path := filepath.Join(cfg.Dir, "stele.db")
	if _, _, err := sqlite.Migrate(ctx, path); err != nil {
		return nil, err
	}
	return sqlite.Open(ctx, path)
}

func (l *Log) closes(f func()) { l.close = append(l.close, f) }

// Close stops the log and closes its database.
func (l *Log) Close() {
	for i := len(l.close) - 1; i >= 0; i-- {
		l.close[i]()
	}
	l.close = nil
}

// writer is who sends the events.
var writer = event.Sender{Name: "bench"}

// Append appends the events in NDJSON, all of which must be new.
func (l *Log) Append(ctx context.Context, lines []byte, n int) error {
	batch := make([]event.Event, 0, n)
	for _, item := range event.ParseLines(lines, writer) {
		if item.Err != nil {
			return item.Err
		}
		batch = append(batch, item.Event)
	}
	results, err := l.Sequencer.Append(ctx, batch)
	if err != nil {
		return err
	}
	for _, r := range results {
		if r.Conflict != nil || r.Duplicate {
			return fmt.Errorf("a new event was taken for the one at %d (conflict: %v)", r.Index, r.Conflict)
		}
	}
	return nil
}

// Appending returns a loop of workers that append batches of n events.
func (l *Log) Appending(stream *events.Stream, workers, n int) measure.Loop {
	streams := make([]*events.Stream, workers)
	texts := make([][]byte, workers)
	for w := range workers {
		streams[w] = stream.Fork()
	}
	return measure.Loop{
		Workers: workers,
		Work: func(ctx context.Context, w int) (int, error) {
			texts[w] = streams[w].Lines(texts[w][:0], n)
			return n, l.Append(ctx, texts[w], n)
		},
		Finish: l.Finish,
	}
}

// Fill appends n events.
func (l *Log) Fill(ctx context.Context, stream *events.Stream, n uint64) error {
	const workers, batch = 3, 4096
	var streams [workers]*events.Stream
	for w := range streams {
		streams[w] = stream.Fork()
	}
	err := measure.Fill(ctx, workers, n, batch, func(ctx context.Context, w, n int) error {
		return l.Append(ctx, streams[w].Lines(nil, n), n)
	})
	if err != nil {
		return err
	}
	return l.Finish(ctx)
}

// Finish waits until all that was appended is published, and the followers have
// come as far as they go.
func (l *Log) Finish(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	head, err := l.Stored.Head(ctx)
	if err != nil {
		return err
	}
	if _, err := l.Publisher.Wait(ctx, head.Size); err != nil {
		return fmt.Errorf("wait for the checkpoint: %w", err)
	}
	for {
		behind := false
		for _, kind := range []string{keyindex.Events, keyindex.Leaves} {
			known, err := keyindex.Open(ctx, l.Stored.Runs(), kind)
			if err != nil {
				return err
			}
			behind = behind || known.End()+keyindex.RunLength <= head.Size
		}
		if !behind {
			return nil
		}
		select {
		case <-time.After(10 * time.Millisecond):
		case <-ctx.Done():
			return errors.New("the followers are behind")
		}
	}
}
