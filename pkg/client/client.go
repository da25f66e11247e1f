// Package client is the Go client of Stele. It appends events to a log, reads and
// verifies logs, and connects package log/slog to a log.
//
// A [Client] speaks the HTTP API of a server, which serves its own description as
// /openapi.yaml. There are three ways to append:
//
//   - [Client.Append] and [Client.AppendJSON] send events and wait for the results;
//   - [Client.Stream] sends events as they come, over one request that stays open,
//     and yields each result as soon as the event is durable;
//   - a [Handler] takes the records of a [log/slog.Logger], queues them, and streams
//     them in the background.
//
// Reading is apart from that. [ReadEntries] and [Check] need no Stele server: they
// read any log in the tlog-tiles layout (https://c2sp.org/tlog-tiles) and trust
// only the head or the policy that they are given. [Client.Entry] and
// [Client.Receipt] return what the server sends, unverified.
//
// What always holds:
//   - an event has an id before it is first sent, so that sending it again
//     cannot store it twice, see [Client.AppendJSON];
//   - events are stored in the order in which they were given;
//   - an event that the server has refused is not sent again, and no request is
//     tried for ever;
//   - the token goes to the configured scheme, host and port only, and into no
//     error. Redirects are errors.
//
// A Client and a [Handler] are safe for concurrent use.
package client

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// Config configures a Client. Only URL must be set.
type Config struct {
	// URL is the address of the server, such as "https://logs.example.com". It may
	// have a path, but no query and no user.
	URL string

	// Log is the name of the log; "default" if empty.
	Log string

	// Token is sent as bearer token. If empty, none is sent.
	Token string

	// HTTP sends the requests; a client with a timeout of two minutes if nil. Its
	// CheckRedirect is not used, and neither is its Timeout for streams.
	HTTP *http.Client

	// RetryFor is the time, from its first try, in which a failed request is tried
	// again: one that got no answer, or an answer with status 429, 502, 503 or 504.
	// A minute if 0; nothing is tried again if it is negative.
	RetryFor time.Duration

	// Retrying, if not nil, is called before each wait for another try, with the
	// error of the last one.
	Retrying func(err error, wait time.Duration)
}

const (
	defaultLog      = "default"
	defaultRetryFor = time.Minute
	defaultTimeout  = 2 * time.Minute // of one try
)

// A Client writes to one log of a server, and reads from it.
type Client struct {
	http      *http.Client
	streaming *http.Client // without a timeout, since a stream may stay open for days
	base      string       // the server's URL, without slash at the end
	log       string
	retryFor  time.Duration
	retrying  func(error, time.Duration)
	receipts  bool    // wait for receipts when appending
	ifState   *uint64 // of changes of the configuration, if it is not nil
}

// New returns a Client. It does not connect: an error is one in the Config.
func New(cfg Config) (*Client, error) {
	u, err := url.Parse(cfg.URL)
	switch {
	case err != nil:
		return nil, fmt.Errorf("server's URL: %w", err)
	case u.Scheme != "http" && u.Scheme != "https" || u.Host == "":
		return nil, fmt.Errorf("server's URL %q: want one like http://127.0.0.1:8080", u.Redacted())
	case u.User != nil || u.RawQuery != "" || u.Fragment != "":
		return nil, fmt.Errorf("server's URL %q: want scheme, host and path only; a token is given by itself", u.Redacted())
	}
	if err := checkToken(cfg.Token); err != nil {
		return nil, err
	}
	c := &Client{
		base:     strings.TrimSuffix(u.String(), "/"),
		log:      cfg.Log,
		retryFor: cfg.RetryFor,
		retrying: cfg.Retrying,
		http:     &http.Client{Timeout: defaultTimeout},
	}
	if c.log == "" {
		c.log = defaultLog
	}
	if c.retryFor == 0 {
		c.retryFor = defaultRetryFor
	}
	if cfg.HTTP != nil {
		h := *cfg.HTTP
		c.http = &h
	}
	c.http.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	c.http.Transport = authorized{c.http.Transport, []string{u.Scheme + "://" + u.Host}, cfg.Token}
	streaming := *c.http
	streaming.Timeout = 0
	c.streaming = &streaming
	return c, nil
}

// Prefix returns the URL of the log, which is its tlog-tiles prefix: with
// [tile.HTTP], it is what [ReadEntries] and [Check] read.
//
// [tile.HTTP]: https://pkg.go.dev/github.com/stele-log/stele/pkg/tile#HTTP
func (c *Client) Prefix() string { return c.base + c.path("") }

// path returns the path of a resource of the log, below the server's URL.
func (c *Client) path(rest string) string { return "/logs/" + url.PathEscape(c.log) + rest }

// WithToken returns a transport that adds a bearer token to requests to the schemes, hosts
// and ports of some URLs, and only to those. It is for [Check] and [ReadEntries] of a log
// that not everybody may read, with a reader that [tile.HTTP] makes. next is
// http.DefaultTransport if nil.
//
// [tile.HTTP]: https://pkg.go.dev/github.com/stele-log/stele/pkg/tile#HTTP
func WithToken(next http.RoundTripper, token string, urls ...string) (http.RoundTripper, error) {
	if err := checkToken(token); err != nil {
		return nil, err
	}
	a := authorized{next: next, token: token}
	for _, text := range urls {
		u, err := url.Parse(text)
		if err != nil {
			return nil, err
		}
		a.origins = append(a.origins, u.Scheme+"://"+u.Host)
	}
	return a, nil
}

func checkToken(token string) error {
	if strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return errors.New("the token has characters other than printable ASCII, such as white space")
	}
	return nil
}

// authorized adds the token to requests to some servers, and only to those. It is a
// transport, so that no request can be sent without passing it.
type authorized struct {
	next    http.RoundTripper // http.DefaultTransport if nil
	origins []string          // scheme, host and port
	token   string
}

var _ http.RoundTripper = authorized{}

func (a authorized) RoundTrip(req *http.Request) (*http.Response, error) {
	if a.token != "" && slices.Contains(a.origins, req.URL.Scheme+"://"+req.URL.Host) {
		req = req.Clone(req.Context())
		req.Header.Set("Authorization", "Bearer "+a.token)
	}
	if a.next == nil {
		return http.DefaultTransport.RoundTrip(req)
	}
	return a.next.RoundTrip(req)
}
