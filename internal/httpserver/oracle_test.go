package httpserver_test

import (
	"fmt"
	"io"
	"log"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
)

// framing are the fields that a server may add or take away.
var framing = []string{"Connection", "Content-Length", "Trailer"}

// An observer keeps what a handler is told.
type observer struct {
	mu   sync.Mutex
	seen []string
}

func (h *observer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	var fields []string
	for name, values := range r.Header {
		if !slices.Contains(framing, name) {
			fields = append(fields, fmt.Sprintf("%s: %q", name, values))
		}
	}
	slices.Sort(fields)
	h.mu.Lock()
	h.seen = append(h.seen, fmt.Sprintf("%s %s (%s) %s, host %q, %d bytes: %q, whole: %t, %s",
		r.Method, r.RequestURI, r.URL.Path, r.Proto, r.Host, r.ContentLength, body, err == nil, fields))
	h.mu.Unlock()
	w.WriteHeader(http.StatusOK)
}

// told returns what the handler behind an address is told when a client says
// something and nothing more, and the statuses of the replies.
func (h *observer) told(t testing.TB, address, text string) (seen []string, statuses []int) {
	c := dial(t, address)
	defer c.Close()
	go func() {
		c.say(text)
		_ = c.CloseWrite()
	}()
	for {
		resp, _, err := c.read()
		if err != nil {
			break
		}
		statuses = append(statuses, resp.StatusCode)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	seen, h.seen = h.seen, nil
	return seen, statuses
}

// serveBoth serves two handlers, one of them with net/http.
func serveBoth(t testing.TB) (own, std *observer, ownAddress, stdAddress string) {
	own, std = new(observer), new(observer)
	_, ownAddress = serve(t, own)
	l := listen(t)
	server := &http.Server{Handler: std, ErrorLog: log.New(io.Discard, "", 0)}
	go func() { _ = server.Serve(l) }()
	t.Cleanup(func() { server.Close() })
	return own, std, ownAddress, l.Addr().String()
}

const next = "GET /next HTTP/1.1\r\nHost: a\r\n\r\n"

// requests are what clients may send, right and wrong. Those that are not
// answered as net/http would are so named.
var requests = []struct {
	name, text string
	refused    int  // net/http takes it
	taken      bool // net/http does not
}{
	{name: "the least", text: "GET / HTTP/1.1\r\nHost: a\r\n\r\n"},
	{name: "no host", text: "GET / HTTP/1.1\r\n\r\n"},
	{name: "two hosts", text: "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"},
	{name: "host with a space", text: "GET / HTTP/1.1\r\nHost: a b\r\n\r\n"},
	{name: "host with a path", text: "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n"},
	{name: "host in quotes", text: "GET / HTTP/1.1\r\nHost: \"a\"\r\n\r\n"},
	{name: "HTTP/1.0", text: "GET / HTTP/1.0\r\n\r\n" + next},
	{name: "HTTP/1.0, kept", text: "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n" + next},
	{name: "HTTP/0.9", text: "GET /\r\n\r\n"},
	{name: "HTTP/1.2", text: "GET / HTTP/1.2\r\nHost: a\r\n\r\n", refused: 505},
	{name: "HTTP/1.11", text: "GET / HTTP/1.11\r\nHost: a\r\n\r\n"},
	{name: "HTTP/2.0", text: "GET / HTTP/2.0\r\nHost: a\r\n\r\n"},
	{name: "HTTP/2 with prior knowledge", text: "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", refused: 400},
	{name: "TLS", text: "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"},
	{name: "no protocol", text: "GET / HTTX/1.1\r\nHost: a\r\n\r\n"},
	{name: "method in lower case", text: "get / HTTP/1.1\r\nHost: a\r\n\r\n"},
	{name: "bad method", text: "G@T / HTTP/1.1\r\nHost: a\r\n\r\n"},
	{name: "two spaces", text: "GET  / HTTP/1.1\r\nHost: a\r\n\r\n"},
	{name: "space in the target", text: "GET /a b HTTP/1.1\r\nHost: a\r\n\r\n"},
	{name: "control character in the target", text: "GET /\x01 HTTP/1.1\r\nHost: a\r\n\r\n"},
	{name: "bad escape in the target", text: "GET /%zz HTTP/1.1\r\nHost: a\r\n\r\n"},
	{name: "path that is not clean", text: "GET /%2e%2e/a//b/../c?d=%2f#e HTTP/1.1\r\nHost: a\r\n\r\n"},
	{name: "path with two slashes", text: "GET //a HTTP/1.1\r\nHost: a\r\n\r\n"},
	{name: "path without a slash", text: "GET a HTTP/1.1\r\nHost: a\r\n\r\n"},
	{name: "target with a host", text: "GET http://b/c HTTP/1.1\r\nHost: a\r\n\r\n"},
	{name: "target with a user", text: "GET http://u:p@b/c HTTP/1.1\r\nHost: a\r\n\r\n"},
	{name: "GET *", text: "GET * HTTP/1.1\r\nHost: a\r\n\r\n", refused: 400},
	{name: "OPTIONS *", text: "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", taken: true}, // the handler's affair
	{name: "CONNECT", text: "CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n", refused: 400},
	// RFC 9112 section 2.2: a server SHOULD ignore an empty line before a request.
	{name: "empty line first", text: "\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", taken: true},

	{name: "length", text: "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello" + next},
	{name: "length of 0", text: "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n" + next},
	{name: "no length", text: "POST / HTTP/1.1\r\nHost: a\r\n\r\n" + next},
	{name: "length in GET", text: "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello" + next},
	{name: "length in HEAD", text: "HEAD / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello"},
	{name: "length, long", text: "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n" + strings.Repeat("x", 1e5) + next},
	{name: "lengths that agree", text: "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello", refused: 400},
	{name: "lengths that do not", text: "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello" + next},
	{name: "list of lengths", text: "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5, 5\r\n\r\nhello" + next},
	{name: "length with a sign", text: "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +5\r\n\r\nhello"},
	{name: "negative length", text: "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -5\r\n\r\nhello"},
	{name: "length in hexadecimal", text: "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0x5\r\n\r\nhello"},
	{name: "length beyond 64 bits", text: "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999\r\n\r\nhello"},
	{name: "body cut short", text: "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 50\r\n\r\nhello", refused: 400},
	{name: "body cut short, long", text: "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n" + strings.Repeat("x", 5e4)},

	{name: "chunks", text: "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n1\r\n!\r\n0\r\n\r\n" + next},
	{name: "chunks in GET", text: "GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n" + next},
	{name: "Chunked", text: "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: Chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n" + next},
	{name: "chunks and length", text: "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"},
	{name: "length and chunks", text: "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n5\r\nhello\r\n0\r\n\r\n"},
	{name: "chunks in HTTP/1.0", text: "POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", refused: 400},
	{name: "coding that nobody knows", text: "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"},
	{name: "two codings", text: "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"},
	{name: "coding twice", text: "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n5\r\nhello\r\n0\r\n\r\n"},
	// RFC 7230 had it; it means nothing, and the connection is not used again.
	{name: "coding identity", text: "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: identity\r\nContent-Length: 5\r\n\r\nhello", taken: true},
	{name: "coding before a space", text: "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding : chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"},
	{name: "chunk with an extension", text: "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5;x=1\r\nhello\r\n0\r\n\r\n" + next},
	{name: "chunk with an extension, no CR", text: "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5;x=1\nhello\r\n0\r\n\r\n"},
	{name: "chunk without CR", text: "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\nhello\n0\n\n"},
	{name: "chunk beyond 64 bits", text: "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\nhello\r\n0\r\n\r\n"},
	{name: "chunk cut short", text: "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhell"},
	{name: "chunk that goes on", text: "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhelloX\r\n0\r\n\r\n"},
	{name: "no last chunk", text: "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"},
	{name: "trailer", text: "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTrailer: X\r\n\r\n5\r\nhello\r\n0\r\nX: y\r\n\r\n" + next},
	{name: "trailer not announced", text: "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX: y\r\n\r\n" + next},

	{name: "fields", text: "POST / HTTP/1.1\r\nHost: a\r\nce-id: 1\r\nCE-SOURCE: /a\r\nX_y:\t\xff \r\nAccept: b\r\naccept: c\r\nUser-Agent: d\r\nContent-Type: e\r\nCookie: f=g\r\nContent-Length: 0\r\n\r\n"},
	{name: "field folded", text: "GET / HTTP/1.1\r\nHost: a\r\nX: a\r\n b\r\n\r\n"},
	{name: "field folded first", text: "GET / HTTP/1.1\r\n X: b\r\nHost: a\r\n\r\n"},
	{name: "space in a field's name", text: "GET / HTTP/1.1\r\nHost: a\r\nX y: a\r\n\r\n"},
	{name: "space after a field's name", text: "GET / HTTP/1.1\r\nHost: a\r\nX : a\r\n\r\n"},
	{name: "field without a name", text: "GET / HTTP/1.1\r\nHost: a\r\n: a\r\n\r\n"},
	{name: "field without a value", text: "GET / HTTP/1.1\r\nHost: a\r\nX\r\n\r\n"},
	{name: "NUL in a field", text: "GET / HTTP/1.1\r\nHost: a\r\nX: a\x00b\r\n\r\n"},
	{name: "CR in a field", text: "GET / HTTP/1.1\r\nHost: a\r\nX: a\rb\r\n\r\n"},
	{name: "lines without CR", text: "GET / HTTP/1.1\nHost: a\n\n", refused: 400},
	{name: "field of 15 kB", text: "GET / HTTP/1.1\r\nHost: a\r\nX: " + strings.Repeat("a", 15_000) + "\r\n\r\n"},
	{name: "field of 17 kB", text: "GET / HTTP/1.1\r\nHost: a\r\nX: " + strings.Repeat("a", 17_000) + "\r\n\r\n", refused: 431},
	{name: "field of 2 MB", text: "GET / HTTP/1.1\r\nHost: a\r\nX: " + strings.Repeat("a", 2e6) + "\r\n\r\n"},
	{name: "last request", text: "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n" + next},
	{name: "body when asked for", text: "POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\nhello"},
	// RFC 9110 section 10.1.1: a server MAY answer 417.
	{name: "other expectation", text: "POST / HTTP/1.1\r\nHost: a\r\nExpect: tea\r\nContent-Length: 5\r\n\r\nhello", taken: true},
}

func TestRequestsAreTakenAsByNetHTTP(t *testing.T) {
	t.Parallel()
	own, std, ownAddress, stdAddress := serveBoth(t)
	for _, request := range requests {
		t.Run(request.name, func(t *testing.T) {
			want, wantStatuses := std.told(t, stdAddress, request.text)
			got, statuses := own.told(t, ownAddress, request.text)
			switch {
			case request.refused != 0:
				if len(want) == 0 || len(got) != 0 || len(statuses) != 1 || statuses[0] != request.refused {
					t.Errorf("status %d, seen %.500q; want %d; net/http: %.500q", statuses, got, request.refused, want)
				}
			case request.taken:
				if len(want) != 0 || len(got) != 1 {
					t.Errorf("seen %.500q; net/http: %.500q", got, want)
				}
			case !slices.Equal(got, want):
				t.Errorf("seen\n%.500q, status %d\nnet/http:\n%.500q, status %d", got, statuses, want, wantStatuses)
			case len(want) == 0 && len(wantStatuses) > 0 && (len(statuses) != 1 || statuses[0] < 400 || statuses[0] >= 600):
				t.Errorf("status %d, net/http: %d", statuses, wantStatuses)
			}
		})
	}
}

// FuzzRequests looks for what the server takes for a request and net/http does
// not, or takes for another: whoever stands between it and its clients must see
// the same requests.
func FuzzRequests(f *testing.F) {
	for _, request := range requests {
		if len(request.text) < 4096 {
			f.Add(request.text)
		}
	}
	own, std, ownAddress, stdAddress := serveBoth(f)
	taken := regexp.MustCompile(`(?i)^[\r\n]|\n[\r\n]+[a-z]|^OPTIONS \*|Expect|identity`) // see requests
	f.Fuzz(func(t *testing.T, text string) {
		want, _ := std.told(t, stdAddress, text)
		got, _ := own.told(t, ownAddress, text)
		if len(got) > len(want) && !taken.MatchString(text) {
			t.Errorf("seen %d requests\n%q\nnet/http: %d\n%q", len(got), got, len(want), want)
		}
		for i := range min(len(got), len(want)) {
			if got[i] != want[i] && !strings.Contains(got[i], "whole: false") { // refused while it is read
				t.Errorf("seen\n%s\nnet/http:\n%s", got[i], want[i])
			}
		}
	})
}
