package api_test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"sync"
	"testing"
)

// checked is a transport that holds each reply against the document.
type checked struct {
	t    testing.TB
	base http.RoundTripper
	seen *sightings
}

func (c checked) RoundTrip(req *http.Request) (*http.Response, error) {
	var sent []byte
	if c.seen != nil && req.Body != nil {
		var err error
		if sent, err = io.ReadAll(req.Body); err != nil {
			return nil, err
		}
		req.Body = io.NopCloser(bytes.NewReader(sent))
	}
	resp, err := c.base.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	body, err := io.ReadAll(resp.Body)
	resp.Body.Close()
	if err != nil {
		return nil, err
	}
	resp.Body = io.NopCloser(bytes.NewReader(body))
	d := loadDocument(c.t)
	if err := d.check(req, resp, body); err != nil {
		c.t.Errorf("%s %s: %v: %.2000s", req.Method, req.URL, err, body)
	}
	if c.seen != nil {
		c.seen.add(d, req, resp, sent, body)
	}
	return resp, nil
}

// sightings are the bodies that were seen, by operation, and for replies also by
// status.
type sightings struct {
	mu                sync.Mutex
	requests, replies map[string]map[string]bool
}

func newSightings() *sightings {
	return &sightings{requests: map[string]map[string]bool{}, replies: map[string]map[string]bool{}}
}

func (s *sightings) add(d *document, req *http.Request, resp *http.Response, sent, got []byte) {
	for _, op := range d.operations {
		if op.method != req.Method || !op.pattern.MatchString(req.URL.EscapedPath()) {
			continue
		}
		s.mu.Lock()
		remember(s.requests, op.String(), sent)
		remember(s.replies, fmt.Sprintf("%s %d", op, resp.StatusCode), got)
		s.mu.Unlock()
	}
}

func remember(bodies map[string]map[string]bool, key string, body []byte) {
	if bodies[key] == nil {
		bodies[key] = map[string]bool{}
	}
	if len(body) < 1<<16 {
		bodies[key][normal(string(body))] = true
	}
}
