package client

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strconv"
	"time"
)

const (
	firstWait = 100 * time.Millisecond // before the second try; it doubles
	maxWait   = 10 * time.Second

	maxReply = 128 << 20 // bytes of an answer that is held in memory
)

// A request is a request whose answer is read whole. Streams are apart, in
// stream.go.
type request struct {
	method, path string // the path is below the server's URL, escaped, and may have a query
	contentType  string // of the body, if there is one
	body         []byte
	once         bool // not to be tried again: that might do it twice
	ifState      *uint64
}

// get returns the body that the server sends for a path.
func (c *Client) get(ctx context.Context, path string) ([]byte, error) {
	return c.do(ctx, request{method: http.MethodGet, path: path})
}

// getJSON reads the JSON that the server sends for a path into v.
func (c *Client) getJSON(ctx context.Context, path string, v any) error {
	body, err := c.get(ctx, path)
	if err != nil {
		return err
	}
	return unmarshal(body, v)
}

// unmarshal reads an answer. Mostly it fails where the URL is that of another
// kind of server.
func unmarshal(body []byte, v any) error {
	if err := json.Unmarshal(body, v); err != nil {
		return fmt.Errorf("cannot read the answer (is this a Stele server?): %w", err)
	}
	return nil
}

// do sends a request, more than once if it must, and returns the body of the
// answer. The error is a [*Problem] if the server answered with one.
func (c *Client) do(ctx context.Context, r request) ([]byte, error) {
	backoff := c.newBackoff()
	for {
		body, err := c.try(ctx, r)
		if err == nil {
			return body, nil
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if !mayPass(err) || r.once {
			return nil, err
		}
		if err := backoff.pause(ctx, err); err != nil {
			return nil, err
		}
	}
}

// A backoff spaces the tries of one request, further and further apart, and ends
// them after the client's retryFor.
type backoff struct {
	client *Client
	start  time.Time // of the first try
	wait   time.Duration
}

func (c *Client) newBackoff() *backoff { return &backoff{c, time.Now(), firstWait} }

// pause waits before the next try, after one that failed with err. It returns an
// error if there must be no other try: err itself if the time is up, and one that
// wraps it if the context ends.
func (b *backoff) pause(ctx context.Context, err error) error {
	var least time.Duration // the Retry-After of the server
	if p, ok := errors.AsType[*Problem](err); ok {
		least = p.retryAfter
	}
	left := b.client.retryFor - time.Since(b.start)
	if left <= least {
		return err
	}
	// Jitter keeps clients that failed together from coming back together.
	pause := min(least+b.wait/2+rand.N(b.wait/2), left)
	if b.client.retrying != nil {
		b.client.retrying(err, pause)
	}
	select {
	case <-time.After(pause):
	case <-ctx.Done():
		return fmt.Errorf("%w; before that: %w", ctx.Err(), err)
	}
	b.wait = min(2*b.wait, maxWait)
	return nil
}

// mayPass reports whether a request that failed with err may succeed if it is sent
// again. Without an answer it may, unless the server's certificate is not trusted.
func mayPass(err error) bool {
	if p, answered := errors.AsType[*Problem](err); answered {
		return p.mayPass()
	}
	_, untrusted := errors.AsType[*tls.CertificateVerificationError](err)
	return !untrusted && !errors.Is(err, errTooLong)
}

var errTooLong = fmt.Errorf("the answer has more than %d bytes", maxReply)

// try sends a request once.
func (c *Client) try(ctx context.Context, r request) (body []byte, err error) {
	req, err := http.NewRequestWithContext(ctx, r.method, c.base+r.path, bytes.NewReader(r.body))
	if err != nil {
		return nil, err
	}
	if r.contentType != "" {
		req.Header.Set("Content-Type", r.contentType)
	}
	if r.ifState != nil {
		req.Header.Set("If-Match", fmt.Sprintf("%q", strconv.FormatUint(*r.ifState, 10)))
	}
	req.Header.Set("User-Agent", "stele-client")
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	body, err = io.ReadAll(io.LimitReader(resp.Body, maxReply+1))
	if err != nil {
		return nil, fmt.Errorf("%s %s: read the answer: %w", r.method, c.base+r.path, err)
	}
	if len(body) > maxReply {
		return nil, fmt.Errorf("%s %s: %w", r.method, c.base+r.path, errTooLong)
	}
	if resp.StatusCode/100 != 2 {
		return nil, problemIn(resp, body)
	}
	return body, nil
}
