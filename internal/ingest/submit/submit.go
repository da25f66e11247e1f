// Package submit appends what was read to a log, through its server.
//
// What always holds:
//   - events are appended in the order in which they were read;
//   - each is reported, in that order, until an error ends it all: then those that
//     were not reported may be in the log or not;
//   - each is sent at once, and more are read meanwhile.
//
// All may be called from several goroutines.
package submit

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"sync"

	"github.com/stele-log/stele/internal/ingest"
	"github.com/stele-log/stele/pkg/client"
)

// A Report is called with what became of each input.
type Report func(ingest.Input, client.Result)

// All appends the events of all inputs, which it reads in a goroutine of its own.
// The error is the reason why it stopped early; events that were refused are
// none.
func All(ctx context.Context, c *client.Client, inputs iter.Seq[ingest.Input], report Report) error {
	var sent inFlight
	events := func(yield func([]byte) bool) {
		for in := range inputs {
			sent.push(in)
			if !yield(in.Event) { // without an event it is refused in its place
				return
			}
		}
	}
	for r, err := range c.Stream(ctx, events) {
		if err != nil {
			return err
		}
		in := sent.pop()
		if in.Err != nil {
			r = client.Result{Err: in.Err}
		}
		report(in, r)
	}
	return nil
}

// Preview reports all inputs as All does, as if a log had stored each event, and
// returns the first few events. It sends nothing.
func Preview(inputs iter.Seq[ingest.Input], report Report) (first []json.RawMessage) {
	const shown = 3
	for in := range inputs {
		if in.Err == nil && len(first) < shown {
			first = append(first, bytes.Clone(in.Event))
		}
		report(in, client.Result{Err: in.Err})
	}
	return first
}

// An inFlight holds the inputs that were read and not answered, in order.
type inFlight struct {
	mu     sync.Mutex
	inputs []ingest.Input
}

func (f *inFlight) push(in ingest.Input) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.inputs = append(f.inputs, in)
}

func (f *inFlight) pop() ingest.Input {
	f.mu.Lock()
	defer f.mu.Unlock()
	in := f.inputs[0]
	f.inputs = f.inputs[1:]
	return in
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
