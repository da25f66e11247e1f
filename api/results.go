package api

import (
	"fmt"
	"net/http"
	"slices"
	"strconv"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/stele-log/stele/internal/access"
	"github.com/stele-log/stele/internal/engine"
	"github.com/stele-log/stele/internal/publisher"
	"github.com/stele-log/stele/internal/sequencer"
	"github.com/stele-log/stele/pkg/event"
)

// This file encodes the outcomes of events, for single replies, batches and
// streams alike. They are the only JSON that is written by hand, since there are
// thousands of them in a reply or a second; openapi.yaml calls them Appended,
// Duplicate, Pending, StoredItem and RefusedItem.

// An appended is the outcome of one event, which is in the log unless err is set.
type appended struct {
	event   *event.Event     // nil if it could not be parsed
	result  sequencer.Result // if it is in the log
	receipt []byte           // a tlog-proof
	proof   []byte           // a tlog-proof without its checkpoint, which the reply has once
	pending string           // why there is no receipt yet
	err     error            // why it was refused
	item    int              // position among those of the request; -1 in a stream, which has none
}

// status returns the HTTP status that the event would have if it had been sent by
// itself.
func (a *appended) status() int {
	switch {
	case a.err != nil:
		p, _ := problemOf(a.err)
		return p.Status
	case a.result.Duplicate:
		return http.StatusOK
	}
	return http.StatusCreated
}

// validEvents returns the events among the items of a request.
func validEvents(items []event.Item) []event.Event {
	events := make([]event.Event, 0, len(items))
	for i := range items {
		if items[i].Err == nil {
			events = append(events, items[i].Event)
		}
	}
	return events
}

// outcomes appends to all the outcome of each item of a request. stored has the
// sequencer's results for those items that are events, in their order.
func outcomes(all []appended, items []event.Item, stored []sequencer.Result) []appended {
	for i := range items {
		a := appended{item: i}
		if a.err = items[i].Err; a.err == nil {
			a.event, a.result = &items[i].Event, stored[0]
			if a.result.Conflict != nil {
				a.err = a.result.Conflict
			}
			stored = stored[1:]
		}
		all = append(all, a)
	}
	return all
}

// conceal keeps a writer who may not read the log from learning of others' entries whether it
// was right about their content: of one that has the source and id of its event it learns
// only that the event cannot be stored.
func (s *server) conceal(r *http.Request, l *engine.Log, results []appended) {
	by := callerOf(r).Name
	isOthers := func(a appended) bool {
		if conflict := a.result.Conflict; conflict != nil {
			return conflict.By != by
		}
		return a.result.Duplicate && a.result.By != by
	}
	if !slices.ContainsFunc(results, isOthers) {
		return
	}
	if permit, err := s.demand(r, l.Name, access.Reader, access.Auditor); err == nil && !permit.Narrowed {
		return
	}
	for i, a := range results {
		if isOthers(a) {
			results[i].result = sequencer.Result{}
			results[i].err = statusError{http.StatusConflict, fmt.Sprintf("an entry of another sender has the source %.200q and the id %.200q already; give the event another id",
				a.event.Source, a.event.ID)}
		}
	}
}

// appendMembers appends the members of the JSON object of an outcome, a comma
// before each. Reflection would take several times as long.
func (a *appended) appendMembers(b []byte) []byte {
	if a.err == nil {
		b = append(b, `,"index":`...)
		b = strconv.AppendUint(b, a.result.Index, 10)
	}
	if a.event != nil {
		b = appendString(append(b, `,"id":`...), a.event.ID)
		b = appendString(append(b, `,"source":`...), a.event.Source)
	}
	if a.err == nil {
		b = append(b, `,"leaf_hash":"`...)
		b, _ = a.result.Leaf.AppendText(b) // it does not fail
		b = append(b, '"')
	}
	if a.result.Duplicate {
		b = append(b, `,"duplicate":true`...)
	}
	if len(a.receipt) > 0 {
		b = appendString(append(b, `,"receipt":`...), a.receipt)
	}
	if len(a.proof) > 0 {
		b = appendString(append(b, `,"proof":`...), a.proof)
	}
	if a.pending != "" {
		b = appendString(append(b, `,"pending":`...), a.pending)
	}
	if a.err != nil {
		p, _ := problemOf(a.err)
		if p.Index != nil && a.item >= 0 {
			p.Item = &a.item
		}
		b = appendJSON(append(b, `,"problem":`...), p)
	}
	return b
}

// appendString appends a JSON string. There is no error, since each string is our
// own or was checked to be UTF-8 when its event was parsed.
func appendString[T string | []byte](b []byte, s T) []byte {
	b, _ = jsontext.AppendQuote(b, s)
	return b
}

// appendObject appends the JSON object of one event of a batch or a stream, where
// a status stands in for that of the reply.
func (a *appended) appendObject(b []byte) []byte {
	b = append(b, `{"status":`...)
	b = strconv.AppendInt(b, int64(a.status()), 10)
	return append(a.appendMembers(b), '}')
}

// appendSingle appends the reply to a single event.
func appendSingle(b []byte, a *appended) []byte {
	first := len(b)
	b = a.appendMembers(b)
	b[first] = '{' // in place of the comma
	return append(b, "}\n"...)
}

// appendSummary appends the beginning of the reply to a batch, up to its results: how
// many events are newly stored, were stored before, or were refused, and the checkpoint
// under which proofs are made, if there is one.
func appendSummary(b []byte, results []appended, under *publisher.Published) []byte {
	accepted, duplicates, rejected := 0, 0, 0
	for i := range results {
		switch a := &results[i]; {
		case a.err != nil:
			rejected++
		case a.result.Duplicate:
			duplicates++
		default:
			accepted++
		}
	}
	b = append(b, `{"accepted":`...)
	b = strconv.AppendInt(b, int64(accepted), 10)
	b = append(b, `,"duplicates":`...)
	b = strconv.AppendInt(b, int64(duplicates), 10)
	b = append(b, `,"rejected":`...)
	b = strconv.AppendInt(b, int64(rejected), 10)
	if under != nil {
		b = appendString(append(b, `,"checkpoint":`...), under.Note)
	}
	return append(b, `,"results":[`...)
}
