package api

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/stele-log/stele/internal/engine"
	"github.com/stele-log/stele/pkg/event"
)

// This file serves POST /logs/{log}/events: one event, or a batch of up to
// MaxEvents in at most MaxBody bytes.
//
//	readEvents -> Sequencer.Append -> Publisher.Wait, if asked to -> reply
//
// Append returns once the events are durable. Waiting is for a checkpoint that
// covers them; when it is over without one, the reply is 202, not an error, since
// the events are stored all the same.

// appendEvents answers a request with events. A single event has the status that
// became of it; a batch has 200, and a status for each of its events.
func (s *server) appendEvents(w http.ResponseWriter, r *http.Request, l *engine.Log) error {
	if wantsStream(r) {
		return s.streamEvents(w, r, l)
	}
	wait, err := waitTime(r)
	if err != nil {
		return err
	}
	items, single, err := s.readEvents(w, r)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(r.Context(), maxTime)
	defer cancel()
	results, err := store(ctx, l, items)
	if err != nil {
		return err
	}
	if single && results[0].err != nil {
		return results[0].err
	}
	pending := false
	if wait > 0 {
		pending = s.addReceipts(ctx, l, results, wait)
	}
	// Reading the body may have used up most of the listener's write timeout, which
	// runs from the request's header on.
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(maxReplyTime))
	if single {
		replySingle(w, l, &results[0], pending)
	} else {
		replyBatch(w, results, pending)
	}
	return nil
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

// addReceipts waits until every accepted event is published and adds receipts,
// all under one checkpoint. It reports whether any receipt is still pending; the
// result of that event then has the reason.
func (s *server) addReceipts(ctx context.Context, l *engine.Log, results []appended, wait time.Duration) (pending bool) {
	ctx, cancel := s.waiting(ctx, wait)
	defer cancel()
	size := uint64(0)
	for i := range results {
		if results[i].err == nil {
			size = max(size, results[i].result.Index+1)
		}
	}
	if size == 0 {
		return false
	}
	published, err := l.Publisher.Wait(ctx, size)
	for i := range results {
		a := &results[i]
		if a.err != nil {
			continue
		}
		if err == nil {
			a.receipt, err = makeReceipt(ctx, l, a.result.Index, published)
		}
		if err != nil {
			pending = true
			a.pending = whyPending(l, err)
		}
	}
	return pending
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
		return "the event is stored; ask for the receipt later, once enough witnesses have cosigned: " + stalled.Error()
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return "the event is stored; no checkpoint covers it yet, ask for the receipt later"
	}
	p, _ := problemOf(err)
	return "the event is stored; there is no receipt: " + p.Detail
}

// replySingle answers a request with one event: 201, 200 for a duplicate, or 202
// if its receipt is pending.
func replySingle(w http.ResponseWriter, l *engine.Log, a *appended, pending bool) {
	status := a.status()
	w.Header().Set("Location", "/logs/"+l.Name+"/events/"+strconv.FormatUint(a.result.Index, 10))
	if pending {
		status = http.StatusAccepted
		setRetryAfter(w.Header(), again)
	}
	send(w, status, jsonType, func(b []byte) []byte { return appendSingle(b, a) })
}

// replyBatch answers a batch: 200, or 202 if any receipt is pending.
func replyBatch(w http.ResponseWriter, results []appended, pending bool) {
	status := http.StatusOK
	if pending {
		status = http.StatusAccepted
		setRetryAfter(w.Header(), again)
	}
	send(w, status, jsonType, func(b []byte) []byte { return appendBatch(b, results) })
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
