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
	"time"
)

const (
	firstWait = 100 * time.Millisecond // before the second try; it doubles
	maxWait   = 10 * time.Second

	maxReply = 128 << 20 // bytes
)

// A request is one that the server answers with a body.
type request struct {
	method, path string // the path is below the server's URL, escaped, and may have a query
	contentType  string
	body         []byte
	once         bool // sending it again might do it again
}

// get returns what the server has at a path.
func (c *Client) get(ctx context.Context, path string) ([]byte, error) {
	return c.do(ctx, request{method: http.MethodGet, path: path})
}

// getJSON reads what the server has at a path into v.
func (c *Client) getJSON(ctx context.Context, path string, v any) error {
	body, err := c.get(ctx, path)
	if err != nil {
		return err
	}
	return unmarshal(body, v)
}

func unmarshal(body []byte, v any) error {
	if err := json.Unmarshal(body, v); err != nil {
		return fmt.Errorf("the server's answer cannot be read, is it Stele? %w", err)
	}
	return nil
}

// do sends a request, again if need be, and returns the body of the answer.
// What the server does not do is a [*Problem].
func (c *Client) do(ctx context.Context, r request) ([]byte, error) {
	start, wait := time.Now(), firstWait
	for {
		body, again, err := c.try(ctx, r)
		if err == nil {
			return body, nil
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if !again || r.once {
			return nil, err
		}
		var least time.Duration // that the server asks for
		if p, ok := errors.AsType[*Problem](err); ok {
			least = p.retryAfter
		}
		left := c.retryFor - time.Since(start)
		if left <= least {
			return nil, err
		}
		// Jitter keeps clients that failed together from coming back together.
		pause := min(least+wait/2+rand.N(wait/2), left)
		if c.retrying != nil {
			c.retrying(err, pause)
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return nil, fmt.Errorf("%w; before that: %w", ctx.Err(), err)
		}
		wait = min(2*wait, maxWait)
	}
}

// try sends a request once. After an error, again says whether another try may
// go better.
func (c *Client) try(ctx context.Context, r request) (body []byte, again bool, err error) {
	req, err := http.NewRequestWithContext(ctx, r.method, c.base+r.path, bytes.NewReader(r.body))
	if err != nil {
		return nil, false, err
	}
	if r.contentType != "" {
		req.Header.Set("Content-Type", r.contentType)
	}
	req.Header.Set("User-Agent", "stele-client")
	resp, err := c.http.Do(req)
	if err != nil {
		_, untrusted := errors.AsType[*tls.CertificateVerificationError](err)
		return nil, !untrusted, err
	}
	defer resp.Body.Close()
	body, err = io.ReadAll(io.LimitReader(resp.Body, maxReply+1))
	if err != nil {
		return nil, true, fmt.Errorf("%s %s: read the answer: %w", r.method, c.base+r.path, err)
	}
	if len(body) > maxReply {
		return nil, false, fmt.Errorf("%s %s: the answer has more than %d bytes", r.method, c.base+r.path, maxReply)
	}
	if resp.StatusCode/100 != 2 {
		p := problemIn(resp, body)
		return nil, p.mayPass(), p
	}
	return body, false, nil
}
