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

// ErrRefused says that an event is not in the log, and would not be if it was
// sent again. The error that it is found in also has a [Problem].
var ErrRefused = errors.New("event refused")

// A Problem is the answer to a request, or to one event of many, that was not
// done.
//
// SPEC: RFC 9457 section 3.1.
type Problem struct {
	Title   string  `json:"title"`
	Status  int     `json:"status"` // of HTTP
	Detail  string  `json:"detail"` // what is wrong, and what to do
	Pointer string  `json:"pointer,omitempty"`
	Offset  *int64  `json:"offset,omitempty"` // bytes into the event
	Index   *uint64 `json:"index,omitempty"`  // of the entry that the event is in conflict with

	retryAfter time.Duration
}

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

// mayPass reports whether the same request may be answered otherwise later.
func (p *Problem) mayPass() bool {
	switch p.Status {
	case http.StatusTooManyRequests, http.StatusBadGateway,
		http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return true
	}
	return false
}

// problemIn returns the problem that a response, other than a 2xx, is.
func problemIn(resp *http.Response, body []byte) *Problem {
	p := &Problem{}
	contentType, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	if contentType != "application/problem+json" || json.Unmarshal(body, p) != nil {
		*p = Problem{}
		if contentType == "text/plain" {
			p.Detail = strings.TrimSpace(string(body[:min(len(body), 500)]))
		}
	}
	// The status line is what proxies and clients go by.
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

// refused returns the error for an event that the server refused for p.
func refused(p *Problem) error { return fmt.Errorf("%w: %w", ErrRefused, p) }

// refusedEvent returns the error for an event that a server would refuse for
// err.
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
