package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"

	"github.com/stele-log/stele/pkg/client"
)

// maxSend is how many events are sent at once, and how many are read ahead.
const maxSend = 1000

// An input is an event to append, or the reason why there is none.
type input struct {
	place string // where it was read, such as "events.ndjson: line 7"
	event []byte
	err   error // says the place itself
}

// send appends events in order, and reports what became of each, in order. While
// some are on their way the next are read; it does not wait for more to come
// before it sends what there is. The error says why it stopped early: the
// events that were not reported may be in the log or not.
func send(ctx context.Context, c *client.Client, inputs iter.Seq[input], report func(input, client.Result)) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	queue := make(chan input, maxSend)
	go func() {
		defer close(queue)
		for in := range inputs {
			select {
			case queue <- in:
			case <-ctx.Done():
				return
			}
		}
	}()
	for {
		batch := nextBatch(ctx, queue)
		if len(batch) == 0 {
			return ctx.Err()
		}
		if err := sendBatch(ctx, c, batch, report); err != nil {
			return err
		}
	}
}

// nextBatch waits for an input and returns it with those behind it. It returns
// none at the end.
func nextBatch(ctx context.Context, queue <-chan input) (batch []input) {
	select {
	case in, ok := <-queue:
		if !ok {
			return nil
		}
		batch = append(batch, in)
	case <-ctx.Done():
		return nil
	}
	for len(batch) < maxSend {
		select {
		case in, ok := <-queue:
			if !ok {
				return batch
			}
			batch = append(batch, in)
		default:
			return batch
		}
	}
	return batch
}

func sendBatch(ctx context.Context, c *client.Client, batch []input, report func(input, client.Result)) error {
	var events [][]byte
	for _, in := range batch {
		if in.err == nil {
			events = append(events, in.event)
		}
	}
	results, err := c.AppendJSON(ctx, events...)
	for _, in := range batch {
		if in.err != nil {
			report(in, client.Result{Err: in.err})
			continue
		}
		if r := results[0]; r.Err == nil || errors.Is(r.Err, client.ErrRefused) {
			report(in, r)
		}
		results = results[1:]
	}
	if errors.Is(err, client.ErrRefused) {
		return nil
	}
	return err
}

// A tally counts what became of events.
type tally struct {
	Stored     int `json:"stored"`
	Duplicates int `json:"duplicates"`
	Refused    int `json:"refused"`
}

func (t *tally) add(r client.Result) {
	switch {
	case r.Err != nil:
		t.Refused++
	case r.Duplicate:
		t.Duplicates++
	default:
		t.Stored++
	}
}

func (t *tally) total() int { return t.Stored + t.Duplicates + t.Refused }

// err returns the error for events that were refused.
func (t *tally) err() error {
	if t.Refused == 0 {
		return nil
	}
	return fmt.Errorf("%d of %d events refused, for the reasons above", t.Refused, t.total())
}

// reason returns why an input is not in the log, and where it was read.
func reason(in input, r client.Result) string {
	if in.err != nil {
		return in.err.Error()
	}
	if p, ok := errors.AsType[*client.Problem](r.Err); ok {
		return in.place + ": " + p.Detail
	}
	return in.place + ": " + r.Err.Error()
}

func printRefused(w io.Writer, in input, r client.Result) { fmt.Fprintln(w, reason(in, r)) }
