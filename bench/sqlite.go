package main

import (
	"context"
	"time"

	"github.com/stele-log/stele/bench/events"
	"github.com/stele-log/stele/bench/measure"
	"github.com/stele-log/stele/bench/peer"
	"github.com/stele-log/stele/bench/stele"
)

const (
	steleSQLite = "Stele in process, SQLite, batches of 4096"
	tesseraMany = "Tessera POSIX in process, batches of 4096"
)

// What gives Tessera its best figure here, with batches of 4096 by as many
// goroutines.
var (
	tesseraBatches = peer.Batching{Size: 16384, Age: 20 * time.Millisecond}
	tesseraAdders  = 4
)

// embeddedGroup is appending many events at once to what needs no server.
func embeddedGroup(l *lab) measure.Group {
	return measure.Group{
		Name: "append without a database server",
		Contenders: []measure.Contender{
			{Name: steleSQLite, Unit: perSecond, Open: l.appendToSQLite},
			{Name: tesseraMany, Unit: perSecond, Open: l.addToTessera},
		},
		Rows: []measure.Row{
			{What: "SQLite, in process, batches of 4096, against Tessera POSIX in process", Subject: steleSQLite, Baseline: tesseraMany, Bar: 1.5},
		},
		Close: l.close,
	}
}

func (l *lab) appendToSQLite(ctx context.Context) (measure.Turn, error) {
	dir, err := l.folder()
	if err != nil {
		return nil, err
	}
	log, err := stele.Open(ctx, stele.Config{Dir: dir})
	if err != nil {
		return nil, err
	}
	l.onClose(log.Close)
	return log.Appending(events.New(1, events.UUIDv7), appenders, 4096).Rate, nil
}

func (l *lab) addToTessera(ctx context.Context) (measure.Turn, error) {
	dir, err := l.folder()
	if err != nil {
		return nil, err
	}
	log, err := peer.OpenTessera(ctx, dir, tesseraBatches)
	if err != nil {
		return nil, err
	}
	l.onClose(func() { _ = log.Close(context.WithoutCancel(ctx)) })
	stream := events.New(1, events.UUIDv7)
	streams := make([]*events.Stream, tesseraAdders)
	for w := range streams {
		streams[w] = stream.Fork()
	}
	return measure.Loop{
		Workers: tesseraAdders,
		Work: func(ctx context.Context, w int) (int, error) {
			const n = 4096
			_, err := log.Add(ctx, events.Split(streams[w].Lines(nil, n))...)
			return n, err
		},
	}.Rate, nil
}
