package witness

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/stele-log/stele/pkg/checkpoint"
	"github.com/stele-log/stele/pkg/cosignature"
	"github.com/stele-log/stele/pkg/proof"
	"github.com/stele-log/stele/pkg/tree"
)

// ClientConfig configures a Client.
type ClientConfig struct {
	URL      string // submission prefix of the witness, http or https
	Requests int    // at most at one time, of all logs together; 8 if 0
}

// A Client talks to one witness, for any number of logs. It follows no
// redirects, reads bounded responses and trusts no byte of them that is not
// signed. It is safe for concurrent use.
type Client struct {
	url   string
	http  *http.Client
	slots chan struct{} // holds a token for each exchange under way; see acquire
	stats clientStats
}

// NewClient returns a client of the witness at a URL. The error is about the URL;
// no connection is made yet.
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

// close closes idle connections.
func (c *Client) close() { c.http.CloseIdleConnections() }

// A SizeError is a 409 answer: the witness has another size of the log's tree on
// record than the request began with.
type SizeError struct{ Size uint64 }

func (e *SizeError) Error() string {
	return fmt.Sprintf("the witness has size %d on record", e.Size)
}

// A StatusError is a response with another status than 200, unless it is a
// [SizeError].
type StatusError struct {
	Status     int
	Text       string        // the body, quoted, of at most 200 bytes
	RetryAfter time.Duration // at most 5 minutes; 0 if there is none
}

func (e *StatusError) Error() string {
	return strings.TrimSpace(fmt.Sprintf("status %d %s %s", e.Status, http.StatusText(e.Status), e.Text))
}

// ErrNoCosignature means that a witness's response has no valid signature by any
// of the keys that the policy has for the witness.
var ErrNoCosignature = errors.New("no valid cosignature in the response")

// AddCheckpoint asks the witness to cosign a checkpoint that carries the log's
// own signatures and no others, with the proof of its consistency from the size
// that the witness has on record.
//
// It returns the first valid signature of each of the given keys and drops all
// other lines: in a checkpoint, one bad line would make every verifier refuse it.
// The error is a [*SizeError] if the witness has another size on record,
// [ErrNoCosignature] if no line is valid, and a [*StatusError] for other answers.
func (c *Client) AddCheckpoint(ctx context.Context, old uint64, hashes []tree.Hash, msg []byte, keys []*cosignature.Verifier) ([]note.Signature, error) {
	text, ok := splitText(msg)
	if !ok || len(hashes) > proof.MaxHashes {
		return nil, errors.New("not a checkpoint and a proof")
	}
	resp, err := c.do(ctx, http.MethodPost, "/add-checkpoint", []byte(AddCheckpoint{old, hashes, msg}.String()))
	if err != nil {
		return nil, err
	}
	// Deployed witnesses also use 409, with another content type, for other roots.
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

// Checkpoint returns the checkpoint of a log that the witness has cosigned last,
// from its monitoring endpoint, and the note itself. It must be signed by one of the
// log's keys and by one of the witness's. The error is a [*StatusError] with status
// 404 if there is no checkpoint; many witnesses have no such endpoint.
func (c *Client) Checkpoint(ctx context.Context, origin string, log []note.Verifier, keys []*cosignature.Verifier) (seen checkpoint.Checkpoint, msg []byte, err error) {
	resp, err := c.do(ctx, http.MethodGet, "/"+OriginHash(origin)+"/checkpoint", nil)
	if err != nil {
		return seen, nil, err
	}
	if resp.status != http.StatusOK {
		return seen, nil, resp.statusError()
	}
	seen, n, err := checkpoint.Open(resp.body, origin, log...)
	if err != nil {
		return seen, nil, err
	}
	lines := resp.body[len(n.Text)+1:]
	if len(verifiedSignatures(n.Text, lines, keys)) == 0 {
		return checkpoint.Checkpoint{}, nil, ErrNoCosignature
	}
	return seen, resp.body, nil
}
