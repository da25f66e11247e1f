package client

import (
	"encoding/json"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/stele-log/stele/pkg/event"
)

// ErrRefused is the error for an event that the server has refused, or that is not
// valid and was not sent: it is not in the log, and sending it again would not
// change that. An error that wraps ErrRefused also wraps a [*Problem].
var ErrRefused = errors.New("event refused")

// A Problem is the server's error: its answer to a request that it did not carry
// out, or to one event of many that it did not store.
//
// SPEC: RFC 9457 section 3.1.
type Problem struct {
	Title   string  `json:"title"`
	Status  int     `json:"status"`            // of HTTP
	Detail  string  `json:"detail"`            // what is wrong, and what to do
	Pointer string  `json:"pointer,omitempty"` // JSON Pointer (RFC 6901) into the event
	Offset  *int64  `json:"offset,omitempty"`  // bytes into the event
	Index   *uint64 `json:"index,omitempty"`   // of the entry that the event is in conflict with

	retryAfter time.Duration // 0 if the server has not sent any
}

// Error returns status, title and detail on one line.
func (p *Problem) Error() string {
	title := p.Title
	if title == "" {
		title = http.StatusText(p.Status)
	}
	if p.Detail == "" {
		return fmt.Sprintf("%d %s", p.Status, title)
	}
	return fmt.Sprintf("%d %s: %s", p.Status, title, p.Detail)
}

// mayPass reports whether the same request may succeed later.
func (p *Problem) mayPass() bool {
	switch p.Status {
	case http.StatusTooManyRequests, http.StatusBadGateway,
		http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return true
	}
	return false
}

// problemIn returns the Problem in a response whose status is not 2xx. A proxy may
// have answered instead of Stele, with a body of any kind: the Problem then has the
// status, and what of the body a person can read.
func problemIn(resp *http.Response, body []byte) *Problem {
	p := &Problem{}
	contentType, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	if contentType != "application/problem+json" || json.Unmarshal(body, p) != nil {
		*p = Problem{}
		if contentType == "text/plain" {
			p.Detail = strings.TrimSpace(string(body[:min(len(body), 500)]))
		}
	}
	// The status line counts, not the body: proxies and clients go by it.
	if p.Status != resp.StatusCode {
		p.Status, p.Title = resp.StatusCode, http.StatusText(resp.StatusCode)
	}
	if location := resp.Header.Get("Location"); p.Status/100 == 3 {
		p.Detail = fmt.Sprintf("redirects are not followed; if you trust %.200q, give that as the server's URL", location)
	}
	p.retryAfter = retryAfter(resp.Header.Get("Retry-After"))
	return p
}

// retryAfter parses a Retry-After header; without one it returns 0.
//
// SPEC: RFC 9110 section 10.2.3: a date or a number of seconds.
func retryAfter(value string) time.Duration {
	if seconds, err := strconv.ParseUint(value, 10, 31); err == nil {
		return time.Duration(seconds) * time.Second
	}
	if at, err := http.ParseTime(value); err == nil {
		return max(0, time.Until(at))
	}
	return 0
}

// refused returns the error for an event that the server refused with p.
func refused(p *Problem) error { return fmt.Errorf("%w: %w", ErrRefused, p) }

// refusedEvent returns the error for an event that was not sent, since err shows
// that the server would refuse it. It is like the one that the server would send.
func refusedEvent(err error) error {
	p := &Problem{Status: http.StatusBadRequest, Detail: err.Error()}
	if bad, ok := errors.AsType[*event.Error](err); ok {
		p.Pointer = bad.Pointer
		if bad.TooLarge {
			p.Status = http.StatusRequestEntityTooLarge
		}
		if bad.Offset >= 0 {
			p.Offset = &bad.Offset
		}
	}
	p.Title = http.StatusText(p.Status)
	return refused(p)
}
