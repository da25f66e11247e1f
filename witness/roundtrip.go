package witness

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"time"
)

const (
	maxSignatures = 256 << 10 // bytes of a response with signature lines; one of ML-DSA-44 has 3.3 KB
	maxErrorText  = 1 << 10   // bytes that are read of any other response

	// maxRetryAfter bounds how long a log does not ask a witness again because of
	// one response.
	maxRetryAfter = 5 * time.Minute
)

// An httpResponse is a response, read up to the limit for its status.
type httpResponse struct {
	status     int
	mediaType  string
	retryAfter time.Duration
	body       []byte
}

func (r httpResponse) statusError() *StatusError {
	text := string(r.body[:min(len(r.body), 200)])
	return &StatusError{r.status, strconv.QuoteToASCII(strings.TrimSpace(text)), r.retryAfter}
}

// acquire waits for one of the client's slots, which the logs share. The caller
// releases it after its exchange.
func (c *Client) acquire(ctx context.Context) (release func(), err error) {
	select {
	case c.slots <- struct{}{}:
		return func() { <-c.slots }, nil
	case <-ctx.Done():
		return nil, fmt.Errorf("earlier requests to the witness are still under way: %w", ctx.Err())
	}
}

// do sends a request, and counts and times it.
func (c *Client) do(ctx context.Context, method, path string, body []byte) (httpResponse, error) {
	start := time.Now()
	resp, err := c.roundTrip(ctx, method, path, body)
	c.stats.count(outcomeOf(resp.status, err), time.Since(start))
	if err != nil {
		return httpResponse{}, fmt.Errorf("ask the witness: %w", err)
	}
	return resp, nil
}

// roundTrip sends a request and reads the response. An error response that is too
// long is cut, a successful one is an error, as half of it could not be verified.
func (c *Client) roundTrip(ctx context.Context, method, path string, body []byte) (r httpResponse, err error) {
	req, err := http.NewRequestWithContext(ctx, method, c.url+path, bytes.NewReader(body))
	if err != nil {
		return r, err
	}
	if body != nil {
		req.Header.Set("Content-Type", "text/plain; charset=utf-8")
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return r, err
	}
	defer resp.Body.Close()
	limit := int64(maxErrorText)
	if resp.StatusCode == http.StatusOK {
		limit = maxSignatures
	}
	if r.body, err = io.ReadAll(io.LimitReader(resp.Body, limit+1)); err != nil {
		return r, err
	}
	r.status = resp.StatusCode
	if int64(len(r.body)) > limit && r.status == http.StatusOK {
		return r, fmt.Errorf("a response of more than %d bytes", limit)
	}
	r.mediaType, _, _ = mime.ParseMediaType(resp.Header.Get("Content-Type"))
	if seconds, err := strconv.Atoi(resp.Header.Get("Retry-After")); err == nil && seconds > 0 {
		r.retryAfter = time.Duration(min(seconds, int(maxRetryAfter/time.Second))) * time.Second
	}
	return r, nil
}
