package server_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stele-log/stele/internal/server"
)

// serve runs a listener until the test ends, or stop is called, which returns
// what Run does.
func serve(t testing.TB, cfg server.ListenConfig, h http.Handler) (l *server.Listener, stop func() error) {
	t.Helper()
	cfg.Address, cfg.Logger = "127.0.0.1:0", slog.New(slog.NewTextHandler(t.Output(), nil))
	l, err := server.Listen(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() {
		err := l.Run(ctx, h, func() {})
		ended <- err
		close(ended)
	}()
	stop = func() error {
		cancel()
		return <-ended
	}
	t.Cleanup(func() { _ = stop() })
	return l, stop
}

// A conn is a connection that says what the test wants it to.
type conn struct {
	testing.TB
	*net.TCPConn
	in *bufio.Reader
}

func dial(t testing.TB, l *server.Listener) conn {
	t.Helper()
	_, address, _ := strings.Cut(l.URL(), "://")
	c, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return conn{t, c.(*net.TCPConn), bufio.NewReader(c)}
}

// say sends text as it is. The server may have closed the connection.
func (c conn) say(text string) { _, _ = io.WriteString(c, text) }

// hear reads a reply, which has to have the status.
func (c conn) hear(status int) (*http.Response, string) {
	c.Helper()
	resp, err := http.ReadResponse(c.in, nil)
	if err != nil {
		c.Fatalf("no reply: %v", err)
	}
	var body bytes.Buffer
	_, err = body.ReadFrom(resp.Body)
	if errors.Is(err, syscall.ECONNRESET) {
		err = nil // the server has not read all that was sent
	}
	if err != nil || resp.StatusCode != status {
		c.Fatalf("status %d, want %d: %s, %v", resp.StatusCode, status, body.String(), err)
	}
	return resp, body.String()
}

// ends checks that the server has closed the connection.
func (c conn) ends() {
	c.Helper()
	if b, err := c.in.Peek(1); err != io.EOF && !errors.Is(err, syscall.ECONNRESET) {
		c.Errorf("the connection goes on with %q, %v", b, err)
	}
}

// echo answers with the body of the request.
var echo = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	fmt.Fprintf(w, "%s %s", r.URL.Path, body)
})

const next = "GET /next HTTP/1.1\r\nHost: a\r\n\r\n"

// badRequests are such that two programs might not agree on where they end. Each
// is refused, and what follows it on the connection is not taken for a request.
var badRequests = []struct {
	name, text string
	status     int
}{
	{"no host", "GET / HTTP/1.1\r\n\r\n", 400},
	{"two hosts", "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400},
	{"host with a space", "GET / HTTP/1.1\r\nHost: a b\r\n\r\n", 400},
	{"no protocol", "GET / HTTX/1.1\r\nHost: a\r\n\r\n", 400},
	{"a version that nobody knows", "GET / HTTP/3.0\r\nHost: a\r\n\r\n", 505},
	{"TLS", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400},
	{"space in the target", "GET /a b HTTP/1.1\r\nHost: a\r\n\r\n", 400},
	{"lengths that do not agree", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello", 400},
	{"length with a sign", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +5\r\n\r\nhello", 400},
	{"negative length", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -5\r\n\r\nhello", 400},
	{"length in hexadecimal", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0x5\r\n\r\nhello", 400},
	{"coding that nobody knows", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", 501},
	{"two codings", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", 501},
	{"coding before a space", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding : chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", 400},
	{"chunk beyond 64 bits", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\nhello\r\n0\r\n\r\n", 400},
	{"chunk that goes on", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhelloX\r\n0\r\n\r\n", 400},
	{"space in a field's name", "GET / HTTP/1.1\r\nHost: a\r\nX y: a\r\n\r\n", 400},
	{"NUL in a field", "GET / HTTP/1.1\r\nHost: a\r\nX: a\x00b\r\n\r\n", 400},
	{"header that is too large", "GET / HTTP/1.1\r\nHost: a\r\nX: " + strings.Repeat("a", server.MaxHeader) + "\r\n\r\n", 431},
}

func TestRequestsWithoutAClearEndAreRefused(t *testing.T) {
	t.Parallel()
	l, _ := serve(t, server.ListenConfig{}, echo)
	for _, r := range badRequests {
		t.Run(r.name, func(t *testing.T) {
			t.Parallel()
			c := dial(t, l)
			c.say(r.text + next)
			_ = c.CloseWrite()
			c.hear(r.status)
			c.ends()
		})
	}
}

func TestHeaderMayHaveItsFullSize(t *testing.T) {
	t.Parallel()
	l, _ := serve(t, server.ListenConfig{}, echo)
	c := dial(t, l)
	c.say("GET / HTTP/1.1\r\nHost: a\r\nX: " + strings.Repeat("a", server.MaxHeader-100) + "\r\n\r\n")
	c.hear(200)
}

// A client that has not sent its body to the end reads the reply nevertheless.
func TestReplyComesBeforeTheBodyIsRead(t *testing.T) {
	t.Parallel()
	l, _ := serve(t, server.ListenConfig{}, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "too large", http.StatusRequestEntityTooLarge)
	}))
	for name, framing := range map[string]string{
		"length": "Content-Length: 30000000\r\n\r\n",
		"chunks": "Transfer-Encoding: chunked\r\n\r\n1c9c380\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := dial(t, l)
			c.say("POST / HTTP/1.1\r\nHost: a\r\n" + framing + strings.Repeat("x", 300_000))
			if resp, _ := c.hear(http.StatusRequestEntityTooLarge); !resp.Close {
				t.Error("the connection is kept")
			}
		})
	}
}

func TestRunAnswersWhatIsUnderWayAtTheEnd(t *testing.T) {
	t.Parallel()
	asked, answer := make(chan bool), make(chan bool)
	l, stop := serve(t, server.ListenConfig{}, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked <- true
		<-answer
		fmt.Fprint(w, "answered")
	}))
	c := dial(t, l)
	c.say(next)
	<-asked
	ended := make(chan error, 1)
	go func() { ended <- stop() }()
	select {
	case err := <-ended:
		t.Errorf("Run did not wait: %v", err)
	case <-time.After(50 * time.Millisecond):
	}
	answer <- true
	if _, body := c.hear(http.StatusOK); body != "answered" {
		t.Errorf("answer %q", body)
	}
	if err := <-ended; err != nil {
		t.Errorf("Run: %v", err)
	}
}

func TestRunCutsOffWhatDoesNotEnd(t *testing.T) {
	t.Parallel()
	asked := make(chan bool)
	left := make(chan error, 1)
	l, stop := serve(t, server.ListenConfig{}, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		asked <- true
		<-r.Context().Done()
		left <- r.Context().Err()
	}))
	c := dial(t, l)
	c.say(next)
	<-asked
	start := time.Now()
	if err := stop(); err == nil || !strings.Contains(err.Error(), "did not end within") {
		t.Errorf("Run: %v", err)
	}
	if took := time.Since(start); took > 10*time.Second {
		t.Errorf("it took %v", took)
	}
	if err := <-left; err != context.Canceled {
		t.Errorf("the request's context ended with %v", err)
	}
}

// FuzzRequests looks for what the server answers with a failure of its own, or
// not at all.
func FuzzRequests(f *testing.F) {
	for _, r := range badRequests {
		if len(r.text) < 4096 {
			f.Add(r.text)
		}
	}
	f.Add("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTrailer: X\r\n\r\n5;x=1\r\nhello\r\n0\r\nX: y\r\n\r\n" + next)
	f.Add("POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\nhello" + next)
	l, _ := serve(f, server.ListenConfig{}, echo)
	f.Fuzz(func(t *testing.T, text string) {
		c := dial(t, l)
		go func() {
			c.say(text)
			_ = c.CloseWrite()
		}()
		for {
			if _, err := c.in.Peek(1); err != nil {
				return
			}
			resp, err := http.ReadResponse(c.in, nil)
			if err != nil {
				if strings.Contains(text, "HEAD") {
					return // the reply has a length and no body
				}
				t.Fatalf("%v after %q", err, text)
			}
			if resp.StatusCode >= 500 && resp.StatusCode != 501 && resp.StatusCode != 505 {
				t.Errorf("status %d for %q", resp.StatusCode, text)
			}
			if _, err := io.Copy(io.Discard, resp.Body); err != nil {
				return
			}
		}
	})
}
