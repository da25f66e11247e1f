package api

import (
	"net/http"
	"strconv"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/stele-log/stele/internal/sequencer"
	"github.com/stele-log/stele/pkg/event"
)

// An appended is the outcome of one event. It is in the log unless err is set.
type appended struct {
	event   *event.Event     // nil if it is none
	result  sequencer.Result // of an event in the log
	receipt []byte           // a tlog-proof
	pending string           // why there is no receipt yet
	err     error            // why it was refused
	item    int              // position among those of the request
}

// status returns the status that the event would have by itself.
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

// outcomes appends to all what became of the items of a request, of which those
// that are events were stored as the sequencer said.
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

// appendMembers appends the members of the JSON object that openapi.yaml calls
// Appended, a comma before each. A reply may have thousands of such objects, and
// reflection would take several times as long to make them.
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
	if a.pending != "" {
		b = appendString(append(b, `,"pending":`...), a.pending)
	}
	if a.err != nil {
		p, _ := problemOf(a.err)
		if p.Index != nil {
			p.Item = &a.item
		}
		b = appendJSON(append(b, `,"problem":`...), p)
	}
	return b
}

// appendString appends a JSON string. It is all ours or checked before, so that
// it is in UTF-8 and there is no error.
func appendString[T string | []byte](b []byte, s T) []byte {
	b, _ = jsontext.AppendQuote(b, s)
	return b
}

// appendObject appends the JSON object of one event among many.
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

// appendBatch appends the reply to a batch: what became of its events, in their
// order, after how many are newly stored, were stored before, or were refused.
func appendBatch(b []byte, results []appended) []byte {
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
	b = append(b, `,"results":[`...)
	for i := range results {
		if i > 0 {
			b = append(b, ',')
		}
		b = results[i].appendObject(b)
	}
	return append(b, "]}\n"...)
}
