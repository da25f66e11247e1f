package main

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/stele-log/stele/bench/events"
	"github.com/stele-log/stele/bench/load"
	"github.com/stele-log/stele/bench/measure"
	"github.com/stele-log/stele/bench/peer"
	"github.com/stele-log/stele/bench/stele"
)

const (
	perSecond = "events/s"
	batchSize = 1000 // of tables, and over HTTP

	// appenders let one batch be parsed while another is committed.
	appenders       = 3
	httpConnections = 4
	chainWriters    = 32 // of single rows
)

const (
	copyFrom     = "CopyFrom, 1 connection"
	copyFrom4    = "CopyFrom, 4 connections"
	insertMany   = "INSERT of 1000 rows, 1 connection"
	chainSingle  = "hash chain in a trigger, 32 connections, a row each"
	chainMany    = "hash chain in a trigger, CopyFrom"
	steleBatches = "Stele in process, batches of %d"
	stelePosts   = "Stele over HTTP, batches of 1000"
	steleCosigns = "Stele in process, batches of 4096, two signatures, cosigned"
	steleTrail   = "Stele in process, CloudTrail, batches of 4096"
	copyTrail    = "CopyFrom, CloudTrail"
)

// appendGroup is appending many events at once, to PostgreSQL.
func appendGroup(l *lab) measure.Group {
	made := events.New(1, events.UUIDv7)
	in4096, in256, in64 := fmt.Sprintf(steleBatches, 4096), fmt.Sprintf(steleBatches, 256), fmt.Sprintf(steleBatches, 64)
	return measure.Group{
		Name: "append to PostgreSQL",
		Contenders: []measure.Contender{
			{Name: in4096, Unit: perSecond, Open: l.appendInProcess(made, appenders, 4096, false)},
			{Name: copyFrom, Unit: perSecond, Open: l.copyInto(made, 1, false)},
			{Name: stelePosts, Unit: perSecond, Open: l.postBatches},
			{Name: in256, Unit: perSecond, Open: l.appendInProcess(made, 16, 256, false)},
			{Name: in64, Unit: perSecond, Open: l.appendInProcess(made, 64, 64, false)},
			{Name: steleCosigns, Unit: perSecond, Open: l.appendInProcess(made, appenders, 4096, true)},
			{Name: copyFrom4, Unit: perSecond, Open: l.copyInto(made, 4, false)},
			{Name: insertMany, Unit: perSecond, Open: l.insertMany},
			{Name: chainMany, Unit: perSecond, Open: l.copyInto(made, 1, true)},
			{Name: chainSingle, Unit: perSecond, Open: l.insertChained},
			{Name: steleTrail, Unit: perSecond, Open: l.withTrail(func(trail *events.Stream) openFunc {
				return l.appendInProcess(trail, appenders, 4096, false)
			})},
			{Name: copyTrail, Unit: perSecond, Open: l.withTrail(func(trail *events.Stream) openFunc {
				return l.copyInto(trail, 1, false)
			})},
		},
		Rows: []measure.Row{
			{What: "append in process, batches of 4096, against CopyFrom", Subject: in4096, Baseline: copyFrom, Bar: 3.5},
			{What: "append over HTTP, NDJSON batches of 1000, 4 connections, against CopyFrom", Subject: stelePosts, Baseline: copyFrom, Bar: 2.5},
			{What: "append in process, batches of 256, against CopyFrom", Subject: in256, Baseline: copyFrom},
			{What: "append in process, batches of 64, against CopyFrom", Subject: in64, Baseline: copyFrom},
			{What: "append in process, batches of 4096, signed twice and cosigned by a witness, against CopyFrom", Subject: steleCosigns, Baseline: copyFrom},
			{What: "append in process, batches of 4096, against CopyFrom on 4 connections", Subject: in4096, Baseline: copyFrom4},
			{What: "append in process, batches of 4096, against INSERT of 1000 rows", Subject: in4096, Baseline: insertMany},
			{What: "append in process, batches of 4096, against a hash chain in a trigger, CopyFrom", Subject: in4096, Baseline: chainMany},
			{What: "append in process, batches of 4096, against a hash chain in a trigger, single rows", Subject: in4096, Baseline: chainSingle},
			{What: "append of CloudTrail records in process, batches of 4096, against CopyFrom of them", Subject: steleTrail, Baseline: copyTrail},
		},
		Close: l.close,
	}
}

type openFunc = func(ctx context.Context) (measure.Turn, error)

// home makes what a Stele keeps its logs in: a database and a folder.
func (l *lab) home(ctx context.Context) (database, dir string, err error) {
	if database, err = l.database(ctx); err == nil {
		dir, err = l.folder()
	}
	return database, dir, err
}

// openLog opens a log of Stele in a database of its own.
func (l *lab) openLog(ctx context.Context, witnessed bool) (*stele.Log, error) {
	database, dir, err := l.home(ctx)
	if err != nil {
		return nil, err
	}
	log, err := stele.Open(ctx, stele.Config{Database: database, Dir: dir, Witnessed: witnessed})
	if err == nil {
		l.onClose(log.Close)
	}
	return log, err
}

func (l *lab) appendInProcess(stream *events.Stream, workers, n int, witnessed bool) openFunc {
	return func(ctx context.Context) (measure.Turn, error) {
		log, err := l.openLog(ctx, witnessed)
		if err != nil {
			return nil, err
		}
		return log.Appending(stream, workers, n).Rate, nil
	}
}

func (l *lab) openTable(ctx context.Context, connections int, chained bool) (*peer.Table, error) {
	database, err := l.database(ctx)
	if err != nil {
		return nil, err
	}
	return l.makeTable(ctx, database, connections, chained)
}

func (l *lab) makeTable(ctx context.Context, database string, connections int, chained bool) (*peer.Table, error) {
	table, err := peer.OpenTable(ctx, database, connections, chained)
	if err == nil {
		l.onClose(table.Close)
	}
	return table, err
}

func (l *lab) copyInto(stream *events.Stream, connections int, chained bool) openFunc {
	return func(ctx context.Context) (measure.Turn, error) {
		table, err := l.openTable(ctx, connections, chained)
		if err != nil {
			return nil, err
		}
		return insertRows(stream, connections, batchSize, table.Copy).Rate, nil
	}
}

func (l *lab) insertMany(ctx context.Context) (measure.Turn, error) {
	table, err := l.openTable(ctx, 1, false)
	if err != nil {
		return nil, err
	}
	return insertRows(events.New(1, events.UUIDv7), 1, peer.ManyRows, table.InsertMany).Rate, nil
}

func (l *lab) insertChained(ctx context.Context) (measure.Turn, error) {
	table, err := l.openTable(ctx, chainWriters, true)
	if err != nil {
		return nil, err
	}
	return insertRows(events.New(1, events.UUIDv7), chainWriters, 1, func(ctx context.Context, rows []events.Row) error {
		return table.Insert(ctx, rows[0])
	}).Rate, nil
}

// insertRows is a loop of workers that insert n rows at a time.
func insertRows(stream *events.Stream, workers, n int, insert func(context.Context, []events.Row) error) measure.Loop {
	streams := make([]*events.Stream, workers)
	rows := make([][]events.Row, workers)
	for w := range workers {
		streams[w], rows[w] = stream.Fork(), make([]events.Row, n)
	}
	return measure.Loop{Workers: workers, Work: func(ctx context.Context, w int) (int, error) {
		streams[w].Rows(rows[w])
		return n, insert(ctx, rows[w])
	}}
}

// withTrail opens a contender that takes CloudTrail records.
func (l *lab) withTrail(open func(*events.Stream) openFunc) openFunc {
	return func(ctx context.Context) (measure.Turn, error) {
		dir, err := l.realEvents("cloudtrail")
		if err != nil {
			return nil, err
		}
		trail, err := events.CloudTrail(dir)
		if err != nil {
			return nil, err
		}
		return open(trail)(ctx)
	}
}

// newServer starts `stele serve` on a database of its own.
func (l *lab) newServer(ctx context.Context, args ...string) (*process, error) {
	database, dir, err := l.home(ctx)
	if err != nil {
		return nil, err
	}
	return l.serveStele(database, dir, args...)
}

func (l *lab) postBatches(ctx context.Context) (measure.Turn, error) {
	server, err := l.newServer(ctx)
	if err != nil {
		return nil, err
	}
	return connected(server.url, httpConnections, func(pool load.Pool) measure.Turn {
		return posting(pool, events.New(1, events.UUIDv7), batchSize).Rate
	}), nil
}

// connected is a turn over new connections: servers close those that are idle
// while others have their turns.
func connected(url string, n int, turn func(load.Pool) measure.Turn) measure.Turn {
	return func(ctx context.Context, d time.Duration) (float64, error) {
		pool, err := load.DialPool(ctx, url, n)
		if err != nil {
			return 0, err
		}
		defer pool.Close()
		return turn(pool)(ctx, d)
	}
}

const (
	eventsPath = "/logs/default/events"
	ndjson     = "application/x-ndjson"
	oneEvent   = "application/cloudevents+json"
)

// posting is a loop that posts batches of n new events to a server of Stele.
func posting(pool load.Pool, stream *events.Stream, n int) measure.Loop {
	streams := make([]*events.Stream, len(pool))
	texts := make([][]byte, len(pool))
	for w := range streams {
		streams[w] = stream.Fork()
	}
	return measure.Loop{
		Workers: len(pool),
		Work: func(_ context.Context, w int) (int, error) {
			texts[w] = streams[w].Lines(texts[w][:0], n)
			return n, postBatch(pool[w], texts[w], n)
		},
		Finish: func(context.Context) error { return awaitPublished(pool[0], streams[0]) },
	}
}

// postBatch posts n events, all of which must be new.
func postBatch(c *load.Conn, lines []byte, n int) error {
	status, reply, err := c.Post(eventsPath, ndjson, lines)
	if err != nil {
		return err
	}
	want := fmt.Appendf(nil, `"accepted":%d,"duplicates":0,"rejected":0`, n)
	if status != http.StatusOK || !bytes.Contains(reply[:min(len(reply), 200)], want) {
		return fmt.Errorf("a batch was answered with %d %.200s", status, reply)
	}
	return nil
}

// awaitPublished returns once all that was posted before is published: it posts
// another event, and waits for its receipt.
func awaitPublished(c *load.Conn, stream *events.Stream) error {
	status, reply, err := c.Post(eventsPath+"?wait=published", oneEvent, stream.Lines(nil, 1))
	if err == nil && status != http.StatusCreated {
		err = fmt.Errorf("an event was answered with %d %.200s", status, reply)
	}
	return err
}
