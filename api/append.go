package api

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/stele-log/stele/internal/host"
	"github.com/stele-log/stele/internal/sequencer"
	"github.com/stele-log/stele/pkg/event"
	"github.com/stele-log/stele/pkg/tree"
)

// An appended says what became of one event. In a batch it has a status of its
// own, and a problem if the event was refused.
type appended struct {
	Status    int        `json:"status,omitempty"`
	Index     *uint64    `json:"index,omitempty"`
	ID        string     `json:"id,omitempty"`
	Source    string     `json:"source,omitempty"`
	LeafHash  *tree.Hash `json:"leaf_hash,omitempty"`
	Duplicate bool       `json:"duplicate,omitempty"`
	Receipt   string     `json:"receipt,omitempty"` // a tlog-proof
	Pending   string     `json:"pending,omitempty"` // why there is no receipt yet
	Problem   *problem   `json:"problem,omitempty"`
}

// An appendedBatch says what became of the events of a batch, in their order.
type appendedBatch struct {
	Accepted   int        `json:"accepted"`   // newly stored
	Duplicates int        `json:"duplicates"` // stored before
	Rejected   int        `json:"rejected"`
	Results    []appended `json:"results"`
}

func (s *server) appendEvents(w http.ResponseWriter, r *http.Request, l *host.Log) error {
	wait, err := waitTime(r)
	if err != nil {
		return err
	}
	items, single, err := readEvents(w, r)
	if err != nil {
		return err
	}
	results, err := s.append(r.Context(), l, items, single)
	if err != nil {
		return err
	}
	pending := false
	if wait > 0 {
		pending = s.addReceipts(r.Context(), l, results, wait)
	}
	if single {
		return replySingle(w, l, results[0], pending)
	}
	return replyBatch(w, results, pending)
}

// append stores the events that are valid. Of a single event, what is wrong
// with it is the error; of a batch, it is in the results.
func (s *server) append(ctx context.Context, l *host.Log, items []event.Item, single bool) ([]appended, error) {
	results := make([]appended, len(items))
	events := make([]event.Event, 0, len(items))
	for i, item := range items {
		switch {
		case item.Err == nil:
			events = append(events, item.Event)
		case single:
			return nil, item.Err
		default:
			results[i] = refused(item.Err)
		}
	}
	if len(events) == 0 {
		return results, nil
	}
	stored, err := l.Sequencer.Append(ctx, events)
	if err != nil {
		return nil, err
	}
	for i, item := range items {
		if item.Err != nil {
			continue
		}
		res := stored[0]
		stored = stored[1:]
		switch {
		case res.Conflict == nil:
			results[i] = accepted(item.Event, res)
		case single:
			return nil, res.Conflict
		default:
			results[i] = refused(res.Conflict)
			results[i].ID, results[i].Source = item.Event.ID, item.Event.Source
			results[i].Problem.Item = &i
		}
	}
	return results, nil
}

func accepted(e event.Event, res sequencer.Result) appended {
	a := appended{Status: http.StatusCreated, Index: &res.Index, ID: e.ID, Source: e.Source,
		LeafHash: &res.Leaf, Duplicate: res.Duplicate}
	if res.Duplicate {
		a.Status = http.StatusOK
	}
	return a
}

func refused(err error) appended {
	p, _ := problemOf(err)
	return appended{Status: p.Status, Problem: &p}
}

// addReceipts waits until all that was accepted is published and adds receipts.
// It reports whether any is still pending.
func (s *server) addReceipts(ctx context.Context, l *host.Log, results []appended, wait time.Duration) (pending bool) {
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	size := uint64(0)
	for _, a := range results {
		if a.Index != nil {
			size = max(size, *a.Index+1)
		}
	}
	if size == 0 {
		return false
	}
	published, err := l.Publisher.Wait(ctx, size)
	for i := range results {
		a := &results[i]
		if a.Index == nil {
			continue
		}
		var receipt []byte
		if err == nil {
			receipt, err = makeReceipt(ctx, l, *a.Index, published)
		}
		if err != nil {
			pending = true
			a.Pending = whyPending(l, err)
			continue
		}
		a.Receipt = string(receipt)
	}
	return pending
}

func whyPending(l *host.Log, err error) string {
	if stalled := l.Publisher.Stalled(); stalled != nil && errors.Is(err, context.DeadlineExceeded) {
		return "the event is stored; ask for the receipt later, once enough witnesses have cosigned: " + stalled.Error()
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return "the event is stored; no checkpoint covers it yet, ask for the receipt later"
	}
	p, _ := problemOf(err)
	return "the event is stored; there is no receipt: " + p.Detail
}

func replySingle(w http.ResponseWriter, l *host.Log, a appended, pending bool) error {
	status := a.Status
	a.Status = 0
	path := "/logs/" + l.Name + "/events/" + strconv.FormatUint(*a.Index, 10)
	w.Header().Set("Location", path)
	if pending {
		status = http.StatusAccepted
		setRetryAfter(w.Header(), again)
	}
	return reply(w, status, a)
}

func replyBatch(w http.ResponseWriter, results []appended, pending bool) error {
	b := appendedBatch{Results: results}
	for _, a := range results {
		switch {
		case a.Problem != nil:
			b.Rejected++
		case a.Duplicate:
			b.Duplicates++
		default:
			b.Accepted++
		}
	}
	status := http.StatusOK
	if pending {
		status = http.StatusAccepted
		setRetryAfter(w.Header(), again)
	}
	return reply(w, status, b)
}

// waitTime returns how long to wait for receipts; 0 is not at all.
//
// SPEC: RFC 7240 section 4.3: Prefer: wait=<seconds>.
func waitTime(r *http.Request) (time.Duration, error) {
	switch v := r.URL.Query().Get("wait"); v {
	case "published":
		return defaultWait, nil
	case "":
	default:
		return 0, badRequest("wait=" + strconv.Quote(v) + " is unknown; wait=published waits for a receipt")
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
