package api

import (
	"net/http"
	"strconv"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/stele-log/stele/internal/sequencer"
	"github.com/stele-log/stele/pkg/event"
)

// An appended says what became of one event. It is in the log unless there is a
// problem.
type appended struct {
	status  int
	event   *event.Event     // nil if it is none
	result  sequencer.Result // of an event in the log
	receipt []byte           // a tlog-proof
	pending string           // why there is no receipt yet
	problem *problem
}

func accepted(e *event.Event, res sequencer.Result) appended {
	a := appended{status: http.StatusCreated, event: e, result: res}
	if res.Duplicate {
		a.status = http.StatusOK
	}
	return a
}

func refused(e *event.Event, err error) appended {
	p, _ := problemOf(err)
	return appended{status: p.Status, event: e, problem: &p}
}

// appendMembers appends the members of the JSON object that openapi.yaml calls
// Appended, a comma before each. A reply may have thousands of such objects, and
// reflection would take several times as long to make them.
func (a *appended) appendMembers(b []byte) []byte {
	if a.problem == nil {
		b = append(b, `,"index":`...)
		b = strconv.AppendUint(b, a.result.Index, 10)
	}
	if a.event != nil {
		b = appendString(append(b, `,"id":`...), a.event.ID)
		b = appendString(append(b, `,"source":`...), a.event.Source)
	}
	if a.problem == nil {
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
	if a.problem != nil {
		b = appendJSON(append(b, `,"problem":`...), a.problem)
	}
	return b
}

// appendString appends a JSON string. It is all ours or checked before, so that
// it is in UTF-8 and there is no error.
func appendString[T string | []byte](b []byte, s T) []byte {
	b, _ = jsontext.AppendQuote(b, s)
	return b
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
		case a.problem != nil:
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
		b = append(b, `{"status":`...)
		b = strconv.AppendInt(b, int64(results[i].status), 10)
		b = append(results[i].appendMembers(b), '}')
	}
	return append(b, "]}\n"...)
}
