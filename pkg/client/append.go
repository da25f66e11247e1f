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
	// A request has at most this many events and bytes: half of what a server
	// accepts.
	maxBatch      = 1000
	maxBatchBytes = 8 << 20

	// With receipts a request has fewer events: a receipt may be larger than its
	// event, and an answer has at most maxReply bytes.
	maxBatchReceipts = 100

	linesType = "application/x-ndjson"
)

// A Result is the outcome for one event.
type Result struct {
	// ID is the event's id, whether it was given or made here. It is empty if the
	// event is not a valid one.
	ID string

	// Err is nil if the event is in the log, and [ErrRefused] if it was refused.
	// After any other error the event may or may not be in the log; sent again
	// under the same id it is stored once.
	Err error

	// The other fields are set if Err is nil. They are on the server's word, except
	// for the Receipt, which can be verified.

	Source    string    // of the event, set by the server if it had none
	Index     uint64    // of its entry in the log, from 0
	LeafHash  tree.Hash // of its entry
	Duplicate bool      // it was in the log before, perhaps from a try that was not answered

	// Receipt is a C2SP tlog-proof, or nil. If one was asked for and there is none
	// yet, Pending is the server's reason. See [Client.WithReceipts].
	Receipt []byte
	Pending string
}

// WithReceipts returns a Client that waits, when it appends, until a published
// checkpoint covers the events, and then returns their receipts. A server waits
// for at most 30 seconds; after that it answers without receipts, and the events
// are in the log nevertheless. [Client.Stream] then sends batches.
func (c *Client) WithReceipts() *Client {
	with := *c
	with.receipts = true
	return &with
}

// Append appends events, in order, as [Client.AppendJSON] does. An event without a
// time gets the present one.
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

// AppendJSON appends events in the JSON event format of CloudEvents, in order.
// Every attribute but type may be missing (see package [event]).
//
// Events are sent byte for byte, with two exceptions: an event without an id gets
// one, a UUID of version 7, as its last attribute; and an event on several lines
// is put on one, without white space, which is how the server stores all events.
// Requests are tried again for [Config].RetryFor, which stores nothing twice. Many
// events take several requests, each of at most 1000 events and 8 MiB.
//
// There is one Result for each event, in order, whatever happens. An event that is
// refused keeps no other from being stored. The error is nil if all events are in
// the log. It is [ErrRefused] if some were refused and all others are in the log.
// Any other error is the one that ended the sending: events whose Result has it
// may or may not be in the log.
//
// [event]: https://pkg.go.dev/github.com/stele-log/stele/pkg/event
func (c *Client) AppendJSON(ctx context.Context, events ...[]byte) ([]Result, error) {
	return c.append(ctx, events, make([]error, len(events)))
}

// append appends those events for which there is no error in errs: it checks
// each, gathers batches, and sends them one after the other, so that their order
// is kept. After a batch has failed none is sent, or events would change places.
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

// summary returns the error for all events together: the one that ended the
// sending, or else the first refusal with the number of refusals.
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

// A batch is the events of one request.
type batch struct {
	lines []line
	at    []int // positions of the events among those that were given
	bytes int
}

// isFull reports whether the next line must go into another request.
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
	Results    []outcome `json:"results"`
	Checkpoint string    `json:"checkpoint"` // that follows each proof
}

// An outcome is the server's answer for one event: the index of its entry, or the
// problem for which it was refused.
type outcome struct {
	ID        string    `json:"id"`
	Index     *uint64   `json:"index"`
	Source    string    `json:"source"`
	LeafHash  tree.Hash `json:"leaf_hash"`
	Duplicate bool      `json:"duplicate"`
	Proof     string    `json:"proof"` // a receipt without its checkpoint
	Pending   string    `json:"pending"`
	Problem   *Problem  `json:"problem"`
}

// note writes the outcome into a result, with the checkpoint of the reply. It fails if
// the outcome is none that a Stele server can have sent.
func (o *outcome) note(r *Result, checkpoint string) error {
	switch {
	case o.ID != "" && o.ID != r.ID:
		return fmt.Errorf("the server answered for the event %.80q where %.80q was due", o.ID, r.ID)
	case o.Problem != nil && o.Problem.mayPass():
		return o.Problem
	case o.Problem == nil && o.Index == nil:
		return errors.New("the server's answer for an event has neither index nor problem")
	case o.Problem != nil:
		// The caller does not know the lines of the request: leave out their number.
		if _, detail, ok := strings.Cut(o.Problem.Detail, ": "); ok && strings.HasPrefix(o.Problem.Detail, "line ") {
			o.Problem.Detail = detail
		}
		r.Err = refused(o.Problem)
		return nil
	}
	r.Source, r.Index, r.LeafHash, r.Duplicate, r.Pending = o.Source, *o.Index, o.LeafHash, o.Duplicate, o.Pending
	if o.Proof != "" {
		r.Receipt = []byte(o.Proof + checkpoint)
	}
	return nil
}

// send sends a batch and writes the outcome for each of its events into results.
// After an error results are unchanged: an answer is used whole or not at all.
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
		if err := answer.Results[i].note(&noted[i], answer.Checkpoint); err != nil {
			return err
		}
	}
	for i, r := range noted {
		results[b.at[i]] = r
	}
	return nil
}
