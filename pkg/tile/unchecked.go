package tile

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
)

// ErrUnchecked is wrapped by an error that shows nothing about a log: something could
// not be read, the reading was interrupted, or it is another log than the one meant. A
// verifier must not take it for a contradiction. Any other error of whatever reads
// and verifies a log is about what the log holds.
var ErrUnchecked = errors.New("not checked")

// Unchecked returns an error that wraps err and [ErrUnchecked], with the text of err,
// or nil if err is nil.
func Unchecked(err error) error {
	if err == nil {
		return nil
	}
	return unchecked{err}
}

type unchecked struct{ error }

func (u unchecked) Unwrap() []error { return []error{u.error, ErrUnchecked} }

// StayOnHost returns an HTTP client like c that follows redirects on the host that was
// asked for, from http to https there, and nowhere else: a log's URL must not lead a
// verifier to whatever its network can reach. A client that has a rule for redirects
// keeps it.
func StayOnHost(c *http.Client) *http.Client {
	if c.CheckRedirect != nil {
		return c
	}
	bound := *c
	bound.CheckRedirect = func(next *http.Request, via []*http.Request) error {
		if !sameHost(via[0].URL, next.URL) {
			return fmt.Errorf("a redirect leads to another host, %.200q, and is not followed", next.URL.Host)
		}
		if len(via) >= maxRedirects {
			return fmt.Errorf("more than %d redirects", maxRedirects)
		}
		return nil
	}
	return &bound
}

const maxRedirects = 5

func sameHost(from, to *url.URL) bool {
	if from.Scheme == "http" && to.Scheme == "https" {
		return from.Hostname() == to.Hostname() && from.Port() == "" && to.Port() == ""
	}
	return from.Scheme == to.Scheme && from.Host == to.Host
}
