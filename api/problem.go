package api

import (
	"cmp"
	"context"
	"errors"
	"io/fs"
	"net/http"
	"strconv"
	"time"

	"github.com/stele-log/stele/internal/access"
	"github.com/stele-log/stele/internal/engine"
	"github.com/stele-log/stele/internal/follow/leafindex"
	"github.com/stele-log/stele/internal/publisher"
	"github.com/stele-log/stele/internal/sequencer"
	"github.com/stele-log/stele/pkg/event"
	"github.com/stele-log/stele/pkg/policy"
	"github.com/stele-log/stele/storage"
)

// This file turns errors into replies. Handlers return whatever error the part that
// they asked has returned; problemOf gives it a status, a detail for people and,
// where trying again helps, a Retry-After. A new error of the engine needs a line
// in statuses, or it is answered with a bare 500 and logged.

// A problem is a problem document. Its type is about:blank, so clients tell
// problems apart by status and members, not by a URI.
//
// SPEC: RFC 9457 section 3.1; the members below detail are extensions.
type problem struct {
	Title  string `json:"title"`
	Status int    `json:"status"`
	Detail string `json:"detail"`

	Item    *int    `json:"item,omitempty"`    // position in the batch, from 0
	Line    int     `json:"line,omitempty"`    // of NDJSON, from 1
	Header  string  `json:"header,omitempty"`  // in binary mode
	Pointer string  `json:"pointer,omitempty"` // RFC 6901, into the body or line
	Offset  *int64  `json:"offset,omitempty"`  // bytes into the body or line
	Index   *uint64 `json:"index,omitempty"`   // of the entry in conflict

	retryAfter time.Duration // whole seconds; 0 for none
}

// A statusError is an error of this package, whose text is the detail.
type statusError struct {
	status int
	detail string
}

func (e statusError) Error() string { return e.detail }

func badRequest(detail string) error { return statusError{http.StatusBadRequest, detail} }

// A limitError is the error of what is more than a principal's limit.
type limitError struct {
	detail string
	wait   time.Duration // until it is not
}

func (e limitError) Error() string { return e.detail }

// A brokenError is the reason why the server could not open the log.
type brokenError struct{ error }

func (e brokenError) Unwrap() error { return e.error }

// A waitingError is the reason why a log's newest checkpoint is not cosigned.
type waitingError struct{ error }

func (e waitingError) Error() string { return "waiting for witnesses: " + e.error.Error() }
func (e waitingError) Unwrap() error { return e.error }

// A causedError is a problem of a log with its cause, which may be nil, and which names
// files and addresses.
type causedError struct {
	problem string
	cause   error
}

func (e causedError) Error() string {
	if e.cause == nil {
		return e.problem
	}
	return e.problem + ": " + e.cause.Error()
}

func (e causedError) Unwrap() error { return e.cause }

// publicText returns the text of an error for whoever asks. Paths of files, and
// addresses of the database and of witnesses, are for the operator, who finds them in
// the server's output.
func publicText(err error) string {
	if _, ok := errors.AsType[brokenError](err); ok {
		return "the log cannot be opened; the cause is in the server's output"
	}
	if caused, ok := errors.AsType[causedError](err); ok {
		return caused.problem
	}
	missing, ok := errors.AsType[*policy.QuorumError](err)
	if !ok {
		return err.Error()
	}
	if _, ok := errors.AsType[waitingError](err); ok {
		return waitingError{missing}.Error()
	}
	return missing.Error()
}

// again is the usual Retry-After: queues empty and leases change hands within
// about a second.
const again = time.Second

// statuses maps errors to the status to answer with, and to when to try again. The
// first match counts. The detail replaces the error's own text, unless it is
// empty.
var statuses = []struct {
	err        error
	status     int
	retryAfter time.Duration
	detail     string
}{
	{engine.ErrUnknown, http.StatusNotFound, 0, ""},
	{engine.ErrBadName, http.StatusBadRequest, 0, ""},
	{engine.ErrTooMany, http.StatusForbidden, 0,
		"this server has as many logs as it may have; its operator decides how many, with --max-logs"},
	{access.ErrInvalid, http.StatusBadRequest, 0, ""},
	{access.ErrNotFound, http.StatusNotFound, 0, ""},
	{access.ErrExists, http.StatusConflict, 0, ""},
	{access.ErrStale, http.StatusConflict, 0, ""},
	{access.ErrLastAdmin, http.StatusConflict, 0, ""},
	{access.ErrLimit, http.StatusForbidden, 0, ""},
	{storage.ErrExists, http.StatusConflict, 0,
		"a log with this name or this origin exists already; choose another"},
	{sequencer.ErrBusy, http.StatusServiceUnavailable, again,
		"the queue of this log is full and nothing was stored; send the events again in a second or so"},
	{errNoMemory, http.StatusServiceUnavailable, again,
		"the server holds as much of other requests as it may; try again in a second or so"},
	{sequencer.ErrNotLeading, http.StatusServiceUnavailable, again,
		"this server is not writing to the log and nothing was stored; send the events again in a second or so"},
	{sequencer.ErrStalled, http.StatusServiceUnavailable, again,
		"a commit has been under way for more than 10 seconds and nothing was stored; send the events again in a second or so"},
	{sequencer.ErrUncertain, http.StatusServiceUnavailable, again,
		"the commit's outcome is unknown; events that bring their own source and id can be sent again, " +
			"and none of them is then stored twice"},
	{storage.ErrUnavailable, http.StatusServiceUnavailable, again,
		"the database is not available; try again in a second or so"},
	{publisher.ErrNothingPublished, http.StatusServiceUnavailable, again, ""},
	{leafindex.ErrNotFound, http.StatusNotFound, 0,
		"no entry in the tree of this size has this leaf hash; if it is new, ask again once it is published"},
	{leafindex.ErrBehind, http.StatusServiceUnavailable, 30 * again, ""},
	{storage.ErrDamaged, http.StatusInternalServerError, 0, ""},
	{fs.ErrNotExist, http.StatusNotFound, 0, ""},
	{context.Canceled, http.StatusServiceUnavailable, again, "the server is stopping; ask again in a second or so"},
	{context.DeadlineExceeded, http.StatusServiceUnavailable, again, "the request took too long; try again"},
}

// problemOf returns the problem to answer an error with. An error that is not
// known here is an internal one: ok is false, and the client is not shown its text,
// which may name hosts or files.
func problemOf(err error) (p problem, ok bool) {
	var status statusError
	var invalid *event.Error
	var conflict *sequencer.ConflictError
	var tooLarge *http.MaxBytesError
	var refused *publisher.RefusalError
	var broken brokenError
	var limited limitError
	p = problem{Detail: err.Error()}
	switch {
	case errors.As(err, &status):
		p.Status = status.status
	case errors.As(err, &limited):
		p.Status, p.retryAfter = http.StatusTooManyRequests, limited.wait
	case errors.As(err, &invalid):
		p = invalidEvent(invalid)
	case errors.As(err, &conflict):
		p.Status = http.StatusConflict
		p.Index = &conflict.Index
		p.Detail += "; give a different event another id"
	case errors.As(err, &tooLarge):
		p.Status = http.StatusRequestEntityTooLarge
		p.Detail = "the body is larger than " + strconv.FormatInt(tooLarge.Limit, 10) + " bytes; send it in parts"
	case errors.As(err, &refused), errors.As(err, &broken):
		p.Status, p.Detail = http.StatusServiceUnavailable, publicText(err)
	default:
		for _, s := range statuses {
			if errors.Is(err, s.err) {
				p.Status, p.retryAfter = s.status, s.retryAfter
				p.Detail = cmp.Or(s.detail, p.Detail)
				break
			}
		}
	}
	if p.Status == 0 {
		p.Status, p.Detail = http.StatusInternalServerError, "internal error; the cause is in the server's output"
		p.Title = http.StatusText(p.Status)
		return p, false
	}
	p.Title = http.StatusText(p.Status)
	return p, true
}

// invalidEvent returns the problem of an invalid event, with its place as far as it
// is known.
func invalidEvent(e *event.Error) problem {
	p := problem{Status: http.StatusBadRequest, Detail: e.Error(),
		Line: e.Line, Header: e.Header, Pointer: e.Pointer}
	if e.TooLarge {
		p.Status = http.StatusRequestEntityTooLarge
	}
	if e.Item >= 0 {
		p.Item = &e.Item
	}
	if e.Offset >= 0 {
		p.Offset = &e.Offset
	}
	p.Title = http.StatusText(p.Status)
	return p
}

// fail answers a request with an error, unless the client has left in the middle of a
// reply. It logs those that an operator should look into.
func (s *server) fail(w http.ResponseWriter, r *http.Request, err error) {
	p, known := problemOf(err)
	if errors.Is(err, errClientLeft) {
		noteClientLeft(w)
		return
	}
	if errors.Is(r.Context().Err(), context.Canceled) && (!known || errors.Is(err, context.Canceled)) {
		// The client may only have closed its own side of the connection. Without a
		// reply net/http would send it an empty 200.
		defer noteClientLeft(w)
		err = badRequest("the connection was closed for sending before the request was answered; " +
			"send it again, and keep the connection open until it is")
		p, known = problemOf(err)
	}
	if !known || p.Status == http.StatusInternalServerError {
		s.Logger.Error("request failed", "method", r.Method, "path", pathOf(r), "error", err)
	}
	s.noteRefusal(r, err, p)
	if wantsStream(r) {
		endUnread(w, r)
	}
	h := w.Header()
	h.Del("Content-Encoding")
	h.Del("Vary")                      // it is not kept
	h.Set("Cache-Control", "no-store") // a tile that is missing now may exist soon
	if p.Status == http.StatusUnauthorized {
		h.Set("WWW-Authenticate", `Bearer realm="stele"`)
	}
	if p.retryAfter > 0 {
		setRetryAfter(h, p.retryAfter)
	}
	send(w, p.Status, problemType, func(b []byte) []byte { return append(appendJSON(b, p), '\n') })
}

func setRetryAfter(h http.Header, d time.Duration) {
	h.Set("Retry-After", strconv.Itoa(int((d+time.Second-1)/time.Second)))
}
