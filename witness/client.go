package witness

import (
	"bytes"
	"cmp"
	"context"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/stele-log/stele/pkg/checkpoint"
	"github.com/stele-log/stele/pkg/cosignature"
	"github.com/stele-log/stele/pkg/proof"
	"github.com/stele-log/stele/pkg/tree"
)

const (
	maxSignatures = 256 << 10 // bytes of a response with signature lines; one of ML-DSA-44 has 3.3 KB
	maxWords      = 1 << 10   // bytes of any other response that are read

	// maxRetryAfter bounds how long a witness can send a log away with one
	// response.
	maxRetryAfter = 5 * time.Minute
)

// ClientConfig is what a Client is made of.
type ClientConfig struct {
	URL      string // submission prefix of the witness, http or https
	Requests int    // at one time, of all logs together; 8 if it is 0
}

// A Client talks to one witness, for any number of logs. It follows no
// redirects, reads bounded responses and trusts no byte of them that is not
// signed. It is safe for concurrent use.
type Client struct {
	url   string
	http  *http.Client
	slots chan struct{} // one for each who is being served
	stats clientStats
}

// NewClient returns a client of the witness at a URL.
func NewClient(cfg ClientConfig) (*Client, error) {
	u, err := url.Parse(cfg.URL)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.RawQuery != "" || u.Fragment != "" {
		return nil, fmt.Errorf("witness URL %.100q is not one of http or https without query", cfg.URL)
	}
	requests := cmp.Or(cfg.Requests, 8)
	// Connections are not shared with other witnesses, even at the same host:
	// those behind one bastion must not wait for each other.
	transport := &http.Transport{
		Proxy:                  http.ProxyFromEnvironment,
		MaxConnsPerHost:        requests,
		MaxIdleConnsPerHost:    requests,
		IdleConnTimeout:        2 * time.Minute,
		TLSHandshakeTimeout:    10 * time.Second,
		MaxResponseHeaderBytes: 64 << 10,
		DisableCompression:     true,
		ForceAttemptHTTP2:      true,
	}
	c := &Client{url: strings.TrimSuffix(cfg.URL, "/"), slots: make(chan struct{}, requests)}
	c.http = &http.Client{
		Transport: transport,
		// A redirected POST would become a GET.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return c, nil
}

// URL returns the witness's submission prefix, without a slash at its end.
func (c *Client) URL() string { return c.url }

// close ends the connections that are idle.
func (c *Client) close() { c.http.CloseIdleConnections() }

// A SizeError says which size of the log's tree a witness has on record, asked
// to go on from another one.
type SizeError struct{ Size uint64 }

func (e *SizeError) Error() string {
	return fmt.Sprintf("the witness has size %d on record", e.Size)
}

// A StatusError is a response that is no cosignature.
type StatusError struct {
	Status     int
	Text       string        // what the witness says, cut
	RetryAfter time.Duration // 0 if the witness does not say
}

func (e *StatusError) Error() string {
	return strings.TrimSpace(fmt.Sprintf("status %d %s %s", e.Status, http.StatusText(e.Status), e.Text))
}

// ErrNoCosignature says that a witness's response holds no valid signature of
// the keys that are known as the witness's.
var ErrNoCosignature = errors.New("no valid cosignature in the response")

// AddCheckpoint asks the witness to cosign a checkpoint that carries the log's
// own signatures and no others, with the proof of its consistency from the size
// that the witness has on record.
//
// It returns the signatures of the given keys that are valid, each key's first,
// and drops all else: a bad line that came to stand in a checkpoint would make
// everyone refuse it. The error is a [*SizeError] if the witness has another
// size on record, and a [*StatusError] if it does not cosign.
func (c *Client) AddCheckpoint(ctx context.Context, old uint64, hashes []tree.Hash, msg []byte, keys []*cosignature.Verifier) ([]note.Signature, error) {
	text, ok := splitText(msg)
	if !ok || len(hashes) > proof.MaxHashes {
		return nil, errors.New("not a checkpoint and a proof")
	}
	resp, err := c.do(ctx, http.MethodPost, "/add-checkpoint", []byte(AddCheckpoint{old, hashes, msg}.String()))
	if err != nil {
		return nil, err
	}
	// A 409 of another type means something else, as deployed witnesses use it.
	if resp.status == http.StatusConflict && resp.mediaType == textSize {
		size, err := parseSize(strings.TrimSuffix(string(resp.body), "\n"))
		if err != nil {
			return nil, fmt.Errorf("status 409 whose body %.40q is not a size", resp.body)
		}
		return nil, &SizeError{size}
	}
	if resp.status != http.StatusOK {
		return nil, resp.statusError()
	}
	sigs := verifiedSignatures(text, resp.body, keys)
	if len(sigs) == 0 {
		return nil, ErrNoCosignature
	}
	return sigs, nil
}

// Checkpoint returns the checkpoint of a log that the witness has cosigned
// last, as its monitoring endpoint has it: signed by a key of the log and by a
// key of the witness, both verified. The error is a [*StatusError] of 404 if it
// has none; many witnesses have no such endpoint.
func (c *Client) Checkpoint(ctx context.Context, origin string, log []note.Verifier, keys []*cosignature.Verifier) (checkpoint.Checkpoint, error) {
	resp, err := c.do(ctx, http.MethodGet, "/"+OriginHash(origin)+"/checkpoint", nil)
	if err != nil {
		return checkpoint.Checkpoint{}, err
	}
	if resp.status != http.StatusOK {
		return checkpoint.Checkpoint{}, resp.statusError()
	}
	seen, n, err := checkpoint.Open(resp.body, origin, log...)
	if err != nil {
		return checkpoint.Checkpoint{}, err
	}
	lines := resp.body[len(n.Text)+1:]
	if len(verifiedSignatures(n.Text, lines, keys)) == 0 {
		return checkpoint.Checkpoint{}, ErrNoCosignature
	}
	return seen, nil
}

// splitText returns the text of a note.
func splitText(msg []byte) (string, bool) {
	i := bytes.LastIndex(msg, []byte("\n\n"))
	if i < 0 {
		return "", false
	}
	return string(msg[:i+1]), true
}

// verifiedSignatures returns, for each key, its first signature line that is a
// valid cosignature of the text and states a time. Other lines are passed over,
// whatever they are.
func verifiedSignatures(text string, lines []byte, keys []*cosignature.Verifier) []note.Signature {
	var sigs []note.Signature
	done := map[*cosignature.Verifier]bool{}
	for line := range strings.Lines(string(lines)) {
		sig, raw, ok := parseSignature(line)
		if !ok {
			continue
		}
		for _, k := range keys {
			if done[k] || k.Name() != sig.Name || k.KeyHash() != sig.Hash || !k.Verify([]byte(text), raw) {
				continue
			}
			// SPEC: https://c2sp.org/tlog-witness#add-checkpoint: the timestamp
			// MUST NOT be zero.
			if t, err := cosignature.Timestamp(sig); err != nil || t.IsZero() {
				continue
			}
			done[k] = true
			sigs = append(sigs, sig)
		}
	}
	return sigs
}

// parseSignature parses one signature line of a note, in its one spelling. raw
// is the signature without the key's ID.
func parseSignature(line string) (sig note.Signature, raw []byte, ok bool) {
	rest, isLine := strings.CutPrefix(strings.TrimSuffix(line, "\n"), "— ")
	name, b64, _ := strings.Cut(rest, " ")
	b, err := base64.StdEncoding.Strict().DecodeString(b64)
	// The decoder skips carriage returns.
	if !isLine || err != nil || len(b) <= 4 || base64.StdEncoding.EncodeToString(b) != b64 {
		return sig, nil, false
	}
	return note.Signature{Name: name, Hash: binary.BigEndian.Uint32(b), Base64: b64}, b[4:], true
}

// A response is one that was read whole, or up to its limit.
type response struct {
	status     int
	mediaType  string
	retryAfter time.Duration
	body       []byte
}

func (r response) statusError() *StatusError {
	text := string(r.body[:min(len(r.body), 200)])
	return &StatusError{r.status, strconv.QuoteToASCII(strings.TrimSpace(text)), r.retryAfter}
}

// acquire waits for its turn among those who share the client. The caller
// releases it once it has asked what it wants to.
func (c *Client) acquire(ctx context.Context) (release func(), err error) {
	select {
	case c.slots <- struct{}{}:
		return func() { <-c.slots }, nil
	case <-ctx.Done():
		return nil, fmt.Errorf("earlier requests to the witness are still under way: %w", ctx.Err())
	}
}

// do sends a request and takes the time of it.
func (c *Client) do(ctx context.Context, method, path string, body []byte) (response, error) {
	start := time.Now()
	resp, err := c.roundTrip(ctx, method, path, body)
	c.stats.count(outcomeOf(resp.status, err), time.Since(start))
	if err != nil {
		return response{}, fmt.Errorf("ask the witness: %w", err)
	}
	return resp, nil
}

func (c *Client) roundTrip(ctx context.Context, method, path string, body []byte) (r response, err error) {
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
	limit := int64(maxWords)
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

// An Outcome is how a request to a witness ended.
type Outcome int

// The outcomes, in the order of [ClientStats.Requests].
const (
	Answered Outcome = iota // 200
	NotFound                // 404: it does not know the log, or has no checkpoint of it
	Conflict                // 409: it has another size on record
	Refused                 // any other 4xx, and redirects
	Unwell                  // 429 and 5xx
	Failed                  // no response, or not in time
	outcomes
)

func (o Outcome) String() string {
	return [...]string{"answered", "not_found", "conflict", "refused", "unwell", "failed"}[o]
}

func outcomeOf(status int, err error) Outcome {
	switch {
	case err != nil:
		return Failed
	case status == http.StatusOK:
		return Answered
	case status == http.StatusNotFound:
		return NotFound
	case status == http.StatusConflict:
		return Conflict
	case status == http.StatusTooManyRequests || status >= 500:
		return Unwell
	}
	return Refused
}

type clientStats struct {
	requests [outcomes]atomic.Uint64
	latency  atomic.Int64 // nanoseconds
}

func (s *clientStats) count(o Outcome, latency time.Duration) {
	s.requests[o].Add(1)
	s.latency.Store(int64(latency))
}

// ClientStats says how a witness has answered, all logs together.
type ClientStats struct {
	URL      string
	Requests map[Outcome]uint64
	Latency  time.Duration // of the last request
}

// Stats returns what was counted since the client was made.
func (c *Client) Stats() ClientStats {
	s := ClientStats{c.url, map[Outcome]uint64{}, time.Duration(c.stats.latency.Load())}
	for o := range outcomes {
		s.Requests[o] = c.stats.requests[o].Load()
	}
	return s
}
