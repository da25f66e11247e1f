package main

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"time"

	"github.com/stele-log/stele/bench/events"
	"github.com/stele-log/stele/bench/load"
	"github.com/stele-log/stele/bench/measure"
	"github.com/stele-log/stele/bench/peer"
)

const (
	writers = 256 // connections, or clients, with one event at a time each

	requests = "requests/s"
	micros   = "µs"
)

// tesseraSingle gives Tessera its best figure here with that many writers.
var tesseraSingle = peer.Batching{Size: 192, Age: 50 * time.Millisecond}

const (
	steleSingle = "Stele over HTTP, 256 connections"
	tesseraHTTP = "Tessera POSIX over HTTP, 256 connections"
	trillianRPC = "Trillian on PostgreSQL, 256 clients by gRPC"
	emptyPost   = "empty handler, POST, 256 connections"
	steleLone   = "Stele over HTTP, one writer, median"
	insertLone  = "INSERT of a row, one writer, median"
	steleWait   = "Stele, from POST to receipt, p99"
)

// singleGroup is one event a request, from many writers.
func singleGroup(l *lab) measure.Group {
	const what = "one event a request, 256 connections, against "
	return measure.Group{
		Name: "one event a request",
		Contenders: []measure.Contender{
			{Name: steleSingle, Unit: perSecond, Open: l.postSingly},
			{Name: tesseraHTTP, Unit: perSecond, Open: l.postToTessera},
			{Name: trillianRPC, Unit: perSecond, Open: l.sendToTrillian},
			{Name: emptyPost, Unit: requests, Open: l.askNobody(postOK)},
		},
		Rows: []measure.Row{
			{What: what + "Tessera POSIX over HTTP", Subject: steleSingle, Baseline: tesseraHTTP, Bar: 1.5},
			{What: what + trillianRPC, Subject: steleSingle, Baseline: trillianRPC, Bar: 10},
			{What: what + "the empty handler", Subject: steleSingle, Baseline: emptyPost, Bar: 0.5},
		},
		Close: l.close,
	}
}

// latencyGroup is how long one event takes.
func latencyGroup(l *lab) measure.Group {
	return measure.Group{
		Name: "latency",
		Contenders: []measure.Contender{
			{Name: steleLone, Unit: micros, Open: l.postAlone},
			{Name: insertLone, Unit: micros, Open: l.insertAlone},
			{Name: steleWait, Unit: "ms", Open: l.awaitReceipts},
		},
		Rows: []measure.Row{
			{What: "a lone sequential writer over HTTP: median latency, against INSERT of a row through pgx",
				Subject: steleLone, Baseline: insertLone, Bar: 3, AtMost: true},
			{What: "time from POST to a receipt under a published checkpoint, interval 100 ms, at half of the highest rate of single events: p99",
				Subject: steleWait, Bar: 200, AtMost: true},
		},
		Close: l.close,
	}
}

// postingEach is a loop that posts one new event at a time; check looks at the
// reply.
func postingEach(pool load.Pool, path string, check func(status int, reply []byte) error) measure.Loop {
	stream := events.New(1, events.UUIDv7)
	streams := make([]*events.Stream, len(pool))
	texts := make([][]byte, len(pool))
	for w := range streams {
		streams[w] = stream.Fork()
	}
	return measure.Loop{Workers: len(pool), Work: func(_ context.Context, w int) (int, error) {
		texts[w] = streams[w].Lines(texts[w][:0], 1)
		status, reply, err := pool[w].Post(path, oneEvent, texts[w])
		if err != nil {
			return 0, err
		}
		return 1, check(status, reply)
	}}
}

// wants checks that a reply has a status.
func wants(want int) func(int, []byte) error {
	return func(status int, reply []byte) error {
		if status != want {
			return fmt.Errorf("an event was answered with %d %.200s", status, reply)
		}
		return nil
	}
}

// postingNew is postingEach to a server of Stele, which answers 201 only if the
// event is new. What was posted is published when it ends.
func postingNew(pool load.Pool) measure.Loop {
	loop := postingEach(pool, eventsPath, wants(http.StatusCreated))
	loop.Finish = func(context.Context) error { return awaitPublished(pool[0], events.New(1, events.UUIDv7)) }
	return loop
}

func (l *lab) postSingly(ctx context.Context) (measure.Turn, error) {
	server, err := l.newServer(ctx)
	if err != nil {
		return nil, err
	}
	return connected(server.url, writers, func(pool load.Pool) measure.Turn { return postingNew(pool).Rate }), nil
}

// postToTessera is turns of a server of Tessera.
func (l *lab) postToTessera(context.Context) (measure.Turn, error) {
	dir, err := l.folder()
	if err != nil {
		return nil, err
	}
	server, err := l.serveSelf(serveTessera, dir)
	if err != nil {
		return nil, err
	}
	return postOK(server.url), nil
}

// askNobody is turns of a server of the empty handler.
func (l *lab) askNobody(turn func(url string) measure.Turn) func(context.Context) (measure.Turn, error) {
	return func(context.Context) (measure.Turn, error) {
		server, err := l.serveSelf(serveEmpty)
		if err != nil {
			return nil, err
		}
		return turn(server.url), nil
	}
}

// postOK is a turn of posting single events to a server that answers 200.
func postOK(url string) measure.Turn {
	return connected(url, writers, func(pool load.Pool) measure.Turn {
		return postingEach(pool, "/", wants(http.StatusOK)).Rate
	})
}

// openTrillian makes a log of Trillian that ends with the group.
func (l *lab) openTrillian(ctx context.Context) (*peer.Trillian, error) {
	if l.trillian == "" {
		return nil, fmt.Errorf("%w: no schema of Trillian", measure.ErrSkip)
	}
	schema, err := os.ReadFile(l.trillian)
	if err != nil {
		return nil, err
	}
	database, err := l.database(ctx)
	if err != nil {
		return nil, err
	}
	log, err := peer.OpenTrillian(ctx, database, string(schema))
	if err == nil {
		l.onClose(log.Close)
	}
	return log, err
}

func (l *lab) sendToTrillian(ctx context.Context) (measure.Turn, error) {
	log, err := l.openTrillian(ctx)
	if err != nil {
		return nil, err
	}
	return queueing(log), nil
}

// queueing is a turn in which each client queues one new event at a time.
func queueing(log *peer.Trillian) measure.Turn {
	stream := events.New(1, events.UUIDv7)
	streams := make([]*events.Stream, writers)
	for w := range streams {
		streams[w] = stream.Fork()
	}
	loop := measure.Loop{
		Workers: writers,
		Work: func(ctx context.Context, w int) (int, error) {
			return 1, log.Queue(ctx, streams[w].Lines(nil, 1))
		},
		Finish: log.AwaitSigned,
	}
	return func(ctx context.Context, d time.Duration) (float64, error) {
		stop := log.StartSigning(ctx)
		defer stop()
		return loop.Rate(ctx, d)
	}
}

func (l *lab) postAlone(ctx context.Context) (measure.Turn, error) {
	server, err := l.newServer(ctx)
	if err != nil {
		return nil, err
	}
	return connected(server.url, 1, func(pool load.Pool) measure.Turn {
		return median(postingNew(pool))
	}), nil
}

func (l *lab) insertAlone(ctx context.Context) (measure.Turn, error) {
	table, err := l.openTable(ctx, 1, false)
	if err != nil {
		return nil, err
	}
	return median(insertRows(events.New(1, events.UUIDv7), 1, 1, func(ctx context.Context, rows []events.Row) error {
		return table.Insert(ctx, rows[0])
	})), nil
}

// median is a turn that measures the median time of a loop's work.
func median(loop measure.Loop) measure.Turn {
	return func(ctx context.Context, d time.Duration) (float64, error) { return loop.Latency(ctx, d, 0.5) }
}

// awaitReceipts measures the highest rate of single events, and then how long
// receipts take at half of it.
func (l *lab) awaitReceipts(ctx context.Context) (measure.Turn, error) {
	server, err := l.newServer(ctx, "--checkpoint-interval", "100ms")
	if err != nil {
		return nil, err
	}
	return connected(server.url, writers, func(pool load.Pool) measure.Turn {
		return func(ctx context.Context, d time.Duration) (float64, error) {
			highest, err := postingNew(pool).Rate(ctx, d/2)
			if err != nil {
				return 0, err
			}
			waiting := postingEach(pool, eventsPath+"?wait=published", wants(http.StatusCreated))
			late, err := waiting.Paced(ctx, d, highest/2, 0.99)
			return late / 1000, err
		}
	}), nil
}
