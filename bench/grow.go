package main

import (
	"context"
	"time"

	"github.com/stele-log/stele/bench/events"
	"github.com/stele-log/stele/bench/load"
	"github.com/stele-log/stele/bench/measure"
)

// fillBatch is the number of events in a request that is not measured.
const fillBatch = 4000

const (
	rateLarge  = "Stele over HTTP, batches of 1000, large log"
	rateSmall  = "Stele over HTTP, batches of 1000, small log"
	peakMemory = "resident memory of the server, peak"
	startUp    = "start-up time"
)

// growGroup is what changes when a log becomes large. The events' ids are by
// time or random: deduplication must not live on ids that sort.
func growGroup(l *lab, ids events.IDs, called string) measure.Group {
	large := &growing{lab: l, stream: events.New(1, ids)}
	size := words(l.sizes.large)
	return measure.Group{
		Name: "grow, " + called,
		Contenders: []measure.Contender{
			{Name: rateLarge, Unit: perSecond, Open: large.grown(large.append)},
			{Name: rateSmall, Unit: perSecond, Open: func(context.Context) (measure.Turn, error) { return l.appendToSmall(ids), nil }},
			{Name: startUp, Unit: "s", Open: large.grown(large.restart)},
			{Name: peakMemory, Unit: "MiB", Open: large.grown(large.memory)},
		},
		Rows: []measure.Row{
			{What: "append rate at " + size + " entries, against the rate at " + words(l.sizes.small) + ", " + called, Subject: rateLarge, Baseline: rateSmall, Bar: 0.9},
			{What: "resident memory of the server under that load, " + called, Subject: peakMemory, Bar: 512, AtMost: true},
			{What: "start-up time at " + size + " entries, " + called, Subject: startUp, Bar: 1, AtMost: true},
		},
		Close: l.close,
	}
}

// growing is a log that a server writes and that stays over the rounds.
type growing struct {
	*lab
	stream        *events.Stream
	database, dir string
	server        *process
	peak          uint64 // memory of the servers before this one, in bytes
}

// grown returns what opens a contender that measures the log once it is large.
func (g *growing) grown(turn measure.Turn) openFunc {
	return func(ctx context.Context) (measure.Turn, error) {
		if g.server == nil {
			if err := g.grow(ctx); err != nil {
				return nil, err
			}
		}
		return turn, nil
	}
}

func (g *growing) grow(ctx context.Context) (err error) {
	if g.database, g.dir, err = g.home(ctx); err != nil {
		return err
	}
	server, err := g.serveStele(g.database, g.dir)
	if err != nil {
		return err
	}
	if err := fill(ctx, server, g.stream, g.sizes.large); err != nil {
		return err
	}
	g.server = server
	return vacuum(ctx, g.database)
}

// append measures how fast the log grows from there on. A turn goes before that
// is not counted: the server may be new, and read its filters yet.
func (g *growing) append(ctx context.Context, d time.Duration) (float64, error) {
	return g.second(ctx, d, appending(g.server, g.stream))
}

// long is how many times the others' a turn of growing is: the key indexes write
// and merge every few hundred thousand events, and each turn has its share.
const long = 3

// second returns the figure of a long turn, after a turn that is not counted.
func (l *lab) second(ctx context.Context, d time.Duration, turn measure.Turn) (float64, error) {
	if _, err := turn(ctx, d); err != nil {
		return 0, err
	}
	if err := l.settle(ctx); err != nil {
		return 0, err
	}
	return turn(ctx, long*d)
}

// appending is a turn of posting batches of new events.
func appending(server *process, stream *events.Stream) measure.Turn {
	return connected(server.url, httpConnections, func(pool load.Pool) measure.Turn {
		return posting(pool, stream, batchSize).Rate
	})
}

// fill posts n events.
func fill(ctx context.Context, server *process, stream *events.Stream, n uint64) error {
	pool, err := load.DialPool(ctx, server.url, httpConnections)
	if err != nil {
		return err
	}
	defer pool.Close()
	streams := make([]*events.Stream, len(pool))
	texts := make([][]byte, len(pool))
	for w := range streams {
		streams[w] = stream.Fork()
	}
	return measure.Fill(ctx, len(pool), n, fillBatch, func(_ context.Context, w, n int) error {
		texts[w] = streams[w].Lines(texts[w][:0], n)
		return postBatch(pool[w], texts[w], n)
	})
}

// appendToSmall makes a log, has it grow to the size of a small one, and
// measures from there on, as append does.
func (l *lab) appendToSmall(ids events.IDs) measure.Turn {
	return func(ctx context.Context, d time.Duration) (float64, error) {
		part := l.part()
		defer part.close()
		database, dir, err := part.home(ctx)
		if err != nil {
			return 0, err
		}
		server, err := part.serveStele(database, dir)
		if err != nil {
			return 0, err
		}
		stream := events.New(1, ids)
		if err := fill(ctx, server, stream, l.sizes.small); err != nil {
			return 0, err
		}
		if err := vacuum(ctx, database); err != nil {
			return 0, err
		}
		return l.second(ctx, d, appending(server, stream))
	}
}

// restart measures from the start of a server to its saying that it is ready.
func (g *growing) restart(ctx context.Context, d time.Duration) (float64, error) {
	if _, err := g.memory(ctx, d); err != nil {
		return 0, err
	}
	g.server.stop()
	var err error
	if g.server, err = g.serveStele(g.database, g.dir); err != nil {
		return 0, err
	}
	return g.server.started.Seconds(), nil
}

// memory returns the most memory that a server of the log has had, in MiB.
func (g *growing) memory(context.Context, time.Duration) (float64, error) {
	now, err := g.server.peakMemory()
	g.peak = max(g.peak, now)
	return float64(g.peak) / (1 << 20), err
}
