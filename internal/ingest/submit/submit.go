// Package submit appends what was read to a log, through its server.
//
// What always holds:
//   - events are appended in the order in which they were read;
//   - each is reported, in that order, until an error ends it all: then those that
//     were not reported may be in the log or not;
//   - what there is is sent at once, and more is read meanwhile.
//
// All may be called from several goroutines.
package submit

import (
	"context"
	"errors"
	"fmt"
	"iter"

	"github.com/stele-log/stele/internal/ingest"
	"github.com/stele-log/stele/pkg/client"
)

// maxBatch is how many events are sent at once, and how many are read ahead.
const maxBatch = 1000

// A Report is called with what became of each input.
type Report func(ingest.Input, client.Result)

// All appends the events of all inputs, which it reads in a goroutine of its own.
// The error is the reason why it stopped early; events that were refused are
// none.
func All(ctx context.Context, c *client.Client, inputs iter.Seq[ingest.Input], report Report) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	queue := make(chan ingest.Input, maxBatch)
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
		if err := send(ctx, c, batch, report); err != nil {
			return err
		}
	}
}

// nextBatch waits for an input and returns it with those behind it. It returns
// none at the end.
func nextBatch(ctx context.Context, queue <-chan ingest.Input) (batch []ingest.Input) {
	select {
	case in, ok := <-queue:
		if !ok {
			return nil
		}
		batch = append(batch, in)
	case <-ctx.Done():
		return nil
	}
	for len(batch) < maxBatch {
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

func send(ctx context.Context, c *client.Client, batch []ingest.Input, report Report) error {
	var events [][]byte
	for _, in := range batch {
		if in.Err == nil {
			events = append(events, in.Event)
		}
	}
	results, err := c.AppendJSON(ctx, events...)
	for _, in := range batch {
		if in.Err != nil {
			report(in, client.Result{Err: in.Err})
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

// A Tally counts what became of events.
type Tally struct {
	Stored     int `json:"stored"`
	Duplicates int `json:"duplicates"`
	Refused    int `json:"refused"`
}

// Add counts an event.
func (t *Tally) Add(r client.Result) {
	switch {
	case r.Err != nil:
		t.Refused++
	case r.Duplicate:
		t.Duplicates++
	default:
		t.Stored++
	}
}

// Total returns the number of events counted.
func (t *Tally) Total() int { return t.Stored + t.Duplicates + t.Refused }

// Err returns an error if any were refused.
func (t *Tally) Err() error {
	if t.Refused == 0 {
		return nil
	}
	return fmt.Errorf("%d of %d events refused, for the reasons above", t.Refused, t.Total())
}

// Reason returns why an input is not in the log, after the place where it was read.
func Reason(in ingest.Input, r client.Result) string {
	if in.Err != nil {
		return in.Err.Error()
	}
	if p, ok := errors.AsType[*client.Problem](r.Err); ok {
		return in.Place + ": " + p.Detail
	}
	return in.Place + ": " + r.Err.Error()
}
