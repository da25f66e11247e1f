package main

import (
	"context"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/stele-log/stele/bench/events"
	"github.com/stele-log/stele/bench/load"
	"github.com/stele-log/stele/bench/measure"
)

const (
	streams = 4

	// A stream has so many lines on their way, in so many writes.
	linesAtOnce = 64
	writesAhead = 128
)

const (
	steleStreams = "Stele over HTTP, 4 streams"
	steleLine    = "Stele over HTTP, 4 streams, from line to result, p99"
)

// streamGroup is events that are acknowledged one by one, on streams.
func streamGroup(l *lab) measure.Group {
	const what = "each event acknowledged by itself, 4 streams"
	return measure.Group{
		Name: "streams",
		Contenders: []measure.Contender{
			{Name: steleStreams, Unit: perSecond, Open: l.streamEvents},
			{Name: copyFrom, Unit: perSecond, Open: l.copyInto(events.New(1, events.UUIDv7), 1, false)},
			{Name: tesseraHTTP, Unit: perSecond, Open: l.postToTessera},
			{Name: steleLine, Unit: "ms", Open: l.timeLines},
		},
		Rows: []measure.Row{
			{What: what, Subject: steleStreams, Bar: 150_000},
			{What: what + ", against CopyFrom", Subject: steleStreams, Baseline: copyFrom, Bar: 2},
			{What: what + ", against Tessera POSIX over HTTP", Subject: steleStreams, Baseline: tesseraHTTP, Bar: 10},
			{What: what + ", time from line to result at half of the highest rate: p99", Subject: steleLine, Bar: 20, AtMost: true},
		},
		Close: l.close,
	}
}

// A streamer sends new events on one stream.
type streamer struct {
	*load.Stream
	events *events.Stream
	text   []byte
}

// openStreamers opens the streams of a turn.
func openStreamers(ctx context.Context, url string) (all []*streamer, end func(), err error) {
	made := events.New(1, events.UUIDv7)
	end = func() {
		for _, s := range all {
			s.Close()
		}
	}
	for range streams {
		s, err := load.OpenStream(ctx, url, eventsPath)
		if err != nil {
			end()
			return nil, nil, err
		}
		all = append(all, &streamer{Stream: s, events: made.Fork()})
	}
	return all, end, nil
}

// send sends the next n events.
func (s *streamer) send(n int) error {
	s.text = s.events.Lines(s.text[:0], n)
	return s.Send(s.text)
}

func (s *streamer) receive(n int) error {
	for range n {
		if err := s.Receive(); err != nil {
			return err
		}
	}
	return nil
}

// streamEvents is turns of the highest rate of events on streams.
func (l *lab) streamEvents(ctx context.Context) (measure.Turn, error) {
	server, err := l.newServer(ctx)
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context, d time.Duration) (float64, error) { return streamRate(ctx, server.url, d) }, nil
}

// streamRate returns how many events a second are answered. The clock stops when
// all that were sent are, and are published.
func streamRate(ctx context.Context, url string, d time.Duration) (float64, error) {
	all, end, err := openStreamers(ctx, url)
	if err != nil {
		return 0, err
	}
	defer end()
	var sending errgroup.Group
	permits := make([]chan int, streams) // of lines to send
	for w, s := range all {
		permits[w] = make(chan int, writesAhead)
		sending.Go(func() error {
			for n := range permits[w] {
				if err := s.send(n); err != nil {
					return err
				}
			}
			return nil
		})
	}
	ahead := make([]int, streams) // writes that are not answered
	loop := measure.Loop{
		Workers: streams,
		Work: func(_ context.Context, w int) (int, error) {
			permits[w] <- linesAtOnce
			if ahead[w]++; ahead[w] < writesAhead {
				return linesAtOnce, nil
			}
			ahead[w]--
			return linesAtOnce, all[w].receive(linesAtOnce)
		},
		Finish: func(ctx context.Context) error {
			for w, s := range all {
				if err := s.receive(ahead[w] * linesAtOnce); err != nil {
					return err
				}
				ahead[w] = 0
			}
			return publishedNow(ctx, url)
		},
	}
	rate, err := loop.Rate(ctx, d)
	for _, p := range permits {
		close(p)
	}
	if sent := sending.Wait(); err == nil {
		err = sent
	}
	return rate, err
}

// publishedNow waits until all that was stored is published.
func publishedNow(ctx context.Context, url string) error {
	pool, err := load.DialPool(ctx, url, 1)
	if err != nil {
		return err
	}
	defer pool.Close()
	return awaitPublished(pool[0], events.New(1, events.UUIDv7))
}

// timeLines measures the highest rate, and then how long results take at half of
// it.
func (l *lab) timeLines(ctx context.Context) (measure.Turn, error) {
	server, err := l.newServer(ctx)
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context, d time.Duration) (float64, error) {
		highest, err := streamRate(ctx, server.url, d/2)
		if err != nil {
			return 0, err
		}
		return lateness(ctx, server.url, d, highest/2)
	}, nil
}

// lateness sends events at a rate and returns the 99th percentile of the times
// from when each was due to its result, in milliseconds.
func lateness(ctx context.Context, url string, d time.Duration, perSecond float64) (float64, error) {
	all, end, err := openStreamers(ctx, url)
	if err != nil {
		return 0, err
	}
	defer end()
	each := time.Duration(float64(time.Second) * streams / perSecond)
	var late [streams][]int64
	var g errgroup.Group
	start := time.Now()
	for w, s := range all {
		total := int(d / each)
		g.Go(func() error { return s.sendPaced(start, each, total) })
		g.Go(func() error {
			for i := range total {
				if err := s.Receive(); err != nil {
					return err
				}
				late[w] = append(late[w], time.Since(start.Add(time.Duration(i)*each)).Microseconds())
			}
			return nil
		})
	}
	err = g.Wait()
	var times []int64
	for _, t := range late {
		times = append(times, t[len(t)/8:]...) // without the warm-up
	}
	if err != nil || len(times) == 0 {
		return 0, err
	}
	return float64(measure.Quantile(times, 0.99)) / 1000, nil
}

// sendPaced sends events, each when it is due; those that are due together go
// together.
func (s *streamer) sendPaced(start time.Time, each time.Duration, total int) error {
	const pause = 200 * time.Microsecond
	for sent := 0; sent < total; time.Sleep(pause) {
		due := min(total, int(time.Since(start)/each)+1)
		if due == sent {
			continue
		}
		if err := s.send(due - sent); err != nil {
			return err
		}
		sent = due
	}
	return nil
}
