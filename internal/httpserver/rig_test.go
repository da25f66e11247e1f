package httpserver_test

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/stele-log/stele/internal/httpserver"
)

var quiet = slog.New(slog.DiscardHandler)

// serve serves a handler until the test ends and returns its address.
func serve(t testing.TB, h http.Handler) (*httpserver.Server, string) {
	t.Helper()
	s := httpserver.New(h, slog.New(slog.NewTextHandler(t.Output(), nil)))
	l := listen(t)
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(l) }()
	t.Cleanup(func() {
		s.Close()
		if err := s.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return s, l.Addr().String()
}

func listen(t testing.TB) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// A client is a connection that says what the test wants it to.
type client struct {
	testing.TB
	*net.TCPConn
	in *bufio.Reader
}

func dial(t testing.TB, address string) client {
	t.Helper()
	c, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return client{t, c.(*net.TCPConn), bufio.NewReader(c)}
}

// say sends text as it is. The server may have closed the connection.
func (c client) say(text string) { _, _ = io.WriteString(c, text) }

// read reads a reply and its body.
func (c client) read() (*http.Response, string, error) {
	resp, err := http.ReadResponse(c.in, nil)
	if err != nil {
		return nil, "", err
	}
	var body bytes.Buffer
	_, err = body.ReadFrom(resp.Body)
	return resp, body.String(), err
}

// hear reads a reply, which has to have the status.
func (c client) hear(status int) (*http.Response, string) {
	c.Helper()
	resp, body, err := c.read()
	if err != nil {
		c.Fatalf("no reply: %v", err)
	}
	if resp.StatusCode != status {
		c.Fatalf("status %d, want %d: %s", resp.StatusCode, status, body)
	}
	return resp, body
}

// ends checks that the server has closed the connection.
func (c client) ends() {
	c.Helper()
	if b, err := c.in.Peek(1); err != io.EOF {
		c.Errorf("the connection goes on with %q, %v", b, err)
	}
}
