package load_test

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stele-log/stele/bench/load"
)

// TestReplies reads replies of each kind over one connection.
func TestReplies(t *testing.T) {
	t.Parallel()
	long := bytes.Repeat([]byte("long "), 100_000)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/echo":
			w.Header().Set("Content-Type", r.Header.Get("Content-Type"))
			w.WriteHeader(http.StatusCreated)
			_, _ = io.Copy(w, r.Body)
		case "/long":
			_, _ = w.Write(long)
		case "/none":
			w.WriteHeader(http.StatusNoContent)
		}
	}))
	t.Cleanup(server.Close)
	c, err := load.Dial(t.Context(), server.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for range 3 {
		status, reply, err := c.Post("/echo", "text/plain", []byte("hello"))
		if err != nil || status != http.StatusCreated || string(reply) != "hello" {
			t.Fatalf("%d %q, %v", status, reply, err)
		}
		status, reply, err = c.Get("/long")
		if err != nil || status != http.StatusOK || !bytes.Equal(reply, long) {
			t.Fatalf("%d and %d bytes, %v", status, len(reply), err)
		}
		status, reply, err = c.Get("/none")
		if err != nil || status != http.StatusNoContent || len(reply) != 0 {
			t.Fatalf("%d %q, %v", status, reply, err)
		}
	}
}
