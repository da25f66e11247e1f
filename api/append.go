package api

import (
	"bufio"
	"context"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/stele-log/stele/internal/access"
	"github.com/stele-log/stele/internal/engine"
	"github.com/stele-log/stele/internal/publisher"
	"github.com/stele-log/stele/pkg/event"
)

// This file serves POST /logs/{log}/events: one event, or a batch of up to
// MaxEvents in at most MaxBody bytes.
//
//	readEvents -> Sequencer.Append -> Publisher.Wait, if asked to -> reply
//
// Append returns once the events are durable. Waiting is for a checkpoint that
// covers them; when it is over without one, the reply is 202, not an error, since
// the events are stored all the same. All receipts of a batch are made under one
// checkpoint, which the reply has once.

// appendEvents answers a request with events. A single event has the status that
// became of it; a batch has 200, and a status for each of its events.
func (s *server) appendEvents(w http.ResponseWriter, r *http.Request, l *engine.Log, p access.Permit) error {
	if wantsStream(r) {
		return s.streamEvents(w, r, l)
	}
	wait, err := waitTime(r)
	if err != nil {
		return err
	}
	memory := s.memory.claim()
	defer memory.release()
	items, single, err := s.readEvents(w, r, p, memory)
	// Reading the body may have used up most of the listener's write timeout, which
	// runs from the request's header on.
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(maxTime + maxStall))
	if err != nil {
		return err
	}
	if _, err := s.demand(r, l.Name, access.Writer); err != nil {
		return err // the key has ended while the body came
	}
	ctx, cancel := context.WithTimeout(r.Context(), maxTime)
	defer cancel()
	results, err := store(ctx, l, items)
	if err != nil {
		return err
	}
	s.conceal(r, l, results)
	if single && results[0].err != nil {
		return results[0].err
	}
	c := coverage{log: l}
	if wait > 0 {
		waiting, cancel := s.waiting(ctx, wait)
		defer cancel()
		c.await(waiting, results)
	}
	if single {
		c.replySingle(ctx, w, &results[0])
		return nil
	}
	return c.replyBatch(r.Context(), w, results)
}

// store appends the events among the items of a request, together, and returns
// an outcome for each item. An error means that none was acknowledged.
func store(ctx context.Context, l *engine.Log, items []event.Item) ([]appended, error) {
	events := validEvents(items)
	if len(events) == 0 {
		return outcomes(nil, items, nil), nil
	}
	stored, err := l.Sequencer.Append(ctx, events)
	if err != nil {
		return nil, err
	}
	return outcomes(make([]appended, 0, len(items)), items, stored), nil
}

// A coverage is the checkpoint under which a request's receipts are made, or the reason
// why there is none. It is zero but for the log if none was waited for.
type coverage struct {
	log     *engine.Log
	under   *publisher.Published
	pending string
}

// await waits for a checkpoint that covers every accepted event.
func (c *coverage) await(ctx context.Context, results []appended) {
	size := uint64(0)
	for i := range results {
		if results[i].err == nil {
			size = max(size, results[i].result.Index+1)
		}
	}
	if size == 0 {
		return
	}
	var err error
	if c.under, err = c.log.Publisher.Wait(ctx, size); err != nil {
		c.pending = whyPending(c.log, err)
	}
}

// prove adds to the outcome of an accepted event its proof, or the reason why there is
// none.
func (c *coverage) prove(ctx context.Context, a *appended) {
	a.pending = c.pending
	if c.under == nil {
		return
	}
	var err error
	if a.proof, err = proofOf(ctx, c.log, a.result.Index, c.under); err != nil {
		a.pending = whyPending(c.log, err)
	}
}

// waiting returns a context for waiting: it ends after the given time, or
// stopGrace after the server has begun to stop.
func (s *server) waiting(ctx context.Context, wait time.Duration) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithTimeout(ctx, wait)
	stop := context.AfterFunc(s.Stopping, func() { time.AfterFunc(stopGrace, cancel) })
	return ctx, func() { stop(); cancel() }
}

// whyPending explains a receipt that is missing although it was waited for.
func whyPending(l *engine.Log, err error) string {
	if stalled := l.Publisher.Stalled(); stalled != nil && errors.Is(err, context.DeadlineExceeded) {
		return "the event is stored; ask for the receipt later, once enough witnesses have cosigned: " + publicText(stalled)
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return "the event is stored; no checkpoint covers it yet, ask for the receipt later"
	}
	p, _ := problemOf(err)
	return "the event is stored; there is no receipt: " + p.Detail
}

// replySingle answers a request with one event: 201, 200 for a duplicate, or 202
// if its receipt is pending.
func (c *coverage) replySingle(ctx context.Context, w http.ResponseWriter, a *appended) {
	status := a.status()
	w.Header().Set("Location", "/logs/"+c.log.Name+"/events/"+strconv.FormatUint(a.result.Index, 10))
	c.prove(ctx, a)
	if a.pending != "" {
		status = http.StatusAccepted
		setRetryAfter(w.Header(), again)
	}
	if a.proof != nil {
		a.receipt, a.proof = append(a.proof, c.under.Note...), nil
	}
	send(w, status, jsonType, func(b []byte) []byte { return appendSingle(b, a) })
}

// replyBatch answers a batch: 200, or 202 if receipts are pending. Each proof is made
// when its result is written. Should that fail, the result says so instead, since
// the status has been sent by then. The error is errClientLeft, or nil.
func (c *coverage) replyBatch(ctx context.Context, w http.ResponseWriter, results []appended) error {
	status := http.StatusOK
	if c.pending != "" {
		status = http.StatusAccepted
		setRetryAfter(w.Header(), again)
	}
	w.Header().Set("Content-Type", jsonType)
	w.WriteHeader(status)
	ctx, cancel := context.WithTimeout(ctx, maxReplyTime)
	defer cancel()
	out := bufio.NewWriterSize(newLongReply(w), replyBuffer)
	_, _ = out.Write(appendSummary(out.AvailableBuffer(), results, c.under))
	for i := range results {
		a := &results[i]
		if a.err == nil {
			c.prove(ctx, a)
		}
		line := out.AvailableBuffer()
		if i > 0 {
			line = append(line, ',')
		}
		if _, err := out.Write(a.appendObject(line)); err != nil {
			return errClientLeft
		}
		a.proof = nil
	}
	_, _ = out.WriteString("]}\n")
	if out.Flush() != nil {
		return errClientLeft
	}
	return nil
}

// waitTime returns how long to wait for receipts, at most MaxWait; 0 means not at
// all. The query is decisive where there is a header too. A Prefer that cannot be
// read is a wait of the default length, since a preference is never an error.
//
// SPEC: RFC 7240 section 4.3: Prefer: wait=<seconds>.
func waitTime(r *http.Request) (time.Duration, error) {
	if r.URL.RawQuery != "" {
		switch v := r.URL.Query().Get("wait"); v {
		case "published":
			return defaultWait, nil
		case "":
		default:
			return 0, badRequest("wait=" + strconv.Quote(v) + " is unknown; wait=published waits for a receipt")
		}
	}
	for _, header := range r.Header.Values("Prefer") {
		for preference := range strings.SplitSeq(header, ",") {
			name, value, _ := strings.Cut(strings.TrimSpace(preference), "=")
			if !strings.EqualFold(strings.TrimSpace(name), "wait") {
				continue
			}
			seconds, err := strconv.Atoi(strings.Trim(value, ` "`))
			if value == "" || err != nil || seconds < 0 {
				return defaultWait, nil
			}
			return time.Duration(min(seconds, int(MaxWait/time.Second))) * time.Second, nil
		}
	}
	return 0, nil
}
