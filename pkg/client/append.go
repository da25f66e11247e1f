package client

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/stele-log/stele/pkg/tree"
)

const (
	// A request has at most so many events, and so many bytes, half of what a
	// server takes.
	maxBatch      = 1000
	maxBatchBytes = 8 << 20

	// A receipt may be larger than its event.
	maxBatchReceipts = 100

	linesType = "application/x-ndjson"
)

// A Result says what became of one event.
type Result struct {
	// ID is the event's id, also if it was made here. It is empty if what was
	// given is no event.
	ID string

	// Err is nil if the event is in the log, and [ErrRefused] if it was refused.
	// After any other error the event may be in the log or not; sent again under
	// the same id it is stored once.
	Err error

	// The rest is set if Err is nil.

	Source    string
	Index     uint64
	LeafHash  tree.Hash
	Duplicate bool // it was in the log before, perhaps from a try that was not answered

	// Receipt is a C2SP tlog-proof, or nil. Pending then says why there is none
	// if one was asked for, see [Client.WithReceipts].
	Receipt []byte
	Pending string
}

// WithReceipts returns a Client that waits, when it appends, until a published
// checkpoint covers the events, and then returns their receipts. A server waits
// for 30 seconds at most; the events are then in the log all the same.
func (c *Client) WithReceipts() *Client {
	with := *c
	with.receipts = true
	return &with
}

// Append appends events, in order, as [Client.AppendJSON] does.
func (c *Client) Append(ctx context.Context, events ...Event) ([]Result, error) {
	texts := make([][]byte, len(events))
	errs := make([]error, len(events))
	for i, e := range events {
		if e.Time.IsZero() {
			e.Time = time.Now()
		}
		texts[i], errs[i] = e.json()
	}
	return c.append(ctx, texts, errs)
}

// AppendJSON appends events in the JSON event format of CloudEvents, of which
// all but type may be missing (see package [event]), in order.
//
// They are sent byte for byte, except that events without an id get one, a
// UUID of version 7 as the last attribute, and those on several lines are put
// on one, without white space, as the server stores all. Requests are tried
// again as [Config] says, which stores nothing twice. Many events go in many
// requests: of 1000 events and 8 MiB at most.
//
// There is one Result for each event, in order, whatever happens. One that is
// refused keeps no other from being stored. The error is nil if all events are
// in the log. It is [ErrRefused] if some were refused and all others are in the
// log. Any other error says what kept the rest of the events from being stored
// for sure.
//
// [event]: https://pkg.go.dev/github.com/stele-log/stele/pkg/event
func (c *Client) AppendJSON(ctx context.Context, events ...[]byte) ([]Result, error) {
	return c.append(ctx, events, make([]error, len(events)))
}

// append appends the events for which there is no error in errs.
func (c *Client) append(ctx context.Context, events [][]byte, errs []error) ([]Result, error) {
	results := make([]Result, len(events))
	b := batch{}
	var failed error // once not nil, nothing is sent
	send := func() {
		if failed == nil && len(b.lines) > 0 {
			failed = c.send(ctx, b, results)
		}
		if failed != nil {
			for _, at := range b.at {
				results[at].Err = failed
			}
		}
		b = batch{}
	}
	for i, text := range events {
		if errs[i] != nil {
			results[i].Err = refusedEvent(errs[i])
			continue
		}
		l, err := newLine(text)
		if err != nil {
			results[i].Err = err
			continue
		}
		results[i].ID = l.id
		if b.isFull(c, l) {
			send()
		}
		b.add(i, l)
	}
	send()
	return results, summary(results, failed)
}

// summary returns the error for all events.
func summary(results []Result, failed error) error {
	refused, first := 0, -1
	for i, r := range results {
		if errors.Is(r.Err, ErrRefused) {
			if refused++; first < 0 {
				first = i
			}
		}
	}
	switch {
	case failed != nil:
		return fmt.Errorf("append: %w", failed)
	case refused == 0:
		return nil
	case len(results) == 1:
		return fmt.Errorf("append: %w", results[0].Err)
	}
	return fmt.Errorf("append: %d of %d events refused, the first of them event %d: %w",
		refused, len(results), first, results[first].Err)
}

// A batch is what goes in one request.
type batch struct {
	lines []line
	at    []int // positions of the events among those that were given
	bytes int
}

func (b *batch) isFull(c *Client, next line) bool {
	limit := maxBatch
	if c.receipts {
		limit = maxBatchReceipts
	}
	return len(b.lines) == limit || b.bytes+len(next.text)+1 > maxBatchBytes
}

func (b *batch) add(at int, l line) {
	b.lines = append(b.lines, l)
	b.at = append(b.at, at)
	b.bytes += len(l.text) + 1
}

// body returns the batch as NDJSON.
func (b *batch) body() []byte {
	body := make([]byte, 0, b.bytes)
	for _, l := range b.lines {
		body = append(append(body, l.text...), '\n')
	}
	return body
}

// A reply is the server's answer to a batch.
type reply struct {
	Results []outcome `json:"results"`
}

// An outcome is the server's answer for one event.
type outcome struct {
	Index     *uint64   `json:"index"`
	Source    string    `json:"source"`
	LeafHash  tree.Hash `json:"leaf_hash"`
	Duplicate bool      `json:"duplicate"`
	Receipt   string    `json:"receipt"`
	Pending   string    `json:"pending"`
	Problem   *Problem  `json:"problem"`
}

// note notes the outcome in a result.
func (o *outcome) note(r *Result) error {
	switch {
	case o.Problem == nil && o.Index == nil:
		return errors.New("the server's answer for an event has neither index nor problem")
	case o.Problem != nil:
		// The line is one of the request, which the caller does not know.
		if _, detail, ok := strings.Cut(o.Problem.Detail, ": "); ok && strings.HasPrefix(o.Problem.Detail, "line ") {
			o.Problem.Detail = detail
		}
		r.Err = refused(o.Problem)
		return nil
	}
	r.Source, r.Index, r.LeafHash, r.Duplicate, r.Pending = o.Source, *o.Index, o.LeafHash, o.Duplicate, o.Pending
	if o.Receipt != "" {
		r.Receipt = []byte(o.Receipt)
	}
	return nil
}

// send sends a batch and notes what became of its events in results. After an
// error nothing is noted.
func (c *Client) send(ctx context.Context, b batch, results []Result) error {
	path := c.path("/events")
	if c.receipts {
		path += "?wait=published"
	}
	body, err := c.do(ctx, request{
		method: http.MethodPost, path: path, contentType: linesType, body: b.body(),
	})
	if err != nil {
		return err
	}
	var answer reply
	if err := unmarshal(body, &answer); err != nil {
		return err
	}
	if len(answer.Results) != len(b.lines) {
		return fmt.Errorf("the server answered for %d events, want %d", len(answer.Results), len(b.lines))
	}
	noted := make([]Result, len(b.lines))
	for i := range answer.Results {
		noted[i].ID = results[b.at[i]].ID
		if err := answer.Results[i].note(&noted[i]); err != nil {
			return err
		}
	}
	for i, r := range noted {
		results[b.at[i]] = r
	}
	return nil
}
