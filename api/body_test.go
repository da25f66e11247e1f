package api_test

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"github.com/stele-log/stele/api"
)

// encode returns a text in a content coding.
func encode(t testing.TB, coding, text string) string {
	t.Helper()
	var b bytes.Buffer
	var w io.WriteCloser
	switch coding {
	case "gzip":
		w = gzip.NewWriter(&b)
	case "zstd":
		var err error
		if w, err = zstd.NewWriter(&b); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := io.WriteString(w, text); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestEncodedBodiesAreStoredDecoded(t *testing.T) {
	t.Parallel()
	r := newRig(t, settings{})
	gzipped, zstandard := func(s string) string { return encode(t, "gzip", s) }, func(s string) string { return encode(t, "zstd", s) }
	const event, recorded = `{"type":"a.b"`, `,"recordedtime":"2026-11-21T09:42:00.000000Z"`
	for i, tt := range []struct {
		body, want string // of the entry, its beginning
		headers    []string
	}{
		{gzipped(event + "}"), event + recorded, []string{"Content-Encoding", "gzip", "Content-Type", "application/json"}},
		{zstandard(event + "}"), event + recorded, []string{"Content-Encoding", "zstd", "Content-Type", "application/json"}},
		{gzipped(event + "}\n"), event + recorded, []string{"Content-Encoding", "GZIP", "Content-Type", "application/x-ndjson"}},
		{gzipped("[" + event + "}]"), event + recorded, []string{"Content-Encoding", " x-gzip", "Content-Type", "application/cloudevents-batch+json"}},
		{zstandard(event) + zstandard("}"), event + recorded, []string{"Content-Encoding", "zstd", "Content-Type", "application/json"}},
		{gzipped(event) + gzipped("}"), event + recorded, []string{"Content-Encoding", "gzip", "Content-Type", "application/json"}},
		{event + "}", event + recorded, []string{"Content-Encoding", "identity", "Content-Type", "application/json"}},
		{gzipped("hello\n"), event + `,"datacontenttype":"text/plain","data":"hello\n"` + recorded,
			[]string{"Content-Encoding", "gzip", "Content-Type", "text/plain", "Ce-Type", "a.b"}},
	} {
		if got := r.do("POST", "/logs/default/events", tt.body, tt.headers...); got.status/100 != 2 {
			t.Fatalf("%v: status %d: %s", tt.headers, got.status, got.body)
		}
		if got := string(r.get(fmt.Sprintf("/logs/default/events/%d", i))); !strings.HasPrefix(got, tt.want) {
			t.Errorf("%v: stored is\n%s, want\n%s", tt.headers, got, tt.want)
		}
	}
}

func TestBodiesThatCannotBeDecodedAreRefused(t *testing.T) {
	t.Parallel()
	r := newRig(t, settings{})
	const event = `{"type":"a.b"}` + "\n"
	bomb := strings.Repeat(" ", api.MaxBody+1)
	var wide bytes.Buffer
	z, err := zstd.NewWriter(&wide, zstd.WithWindowSize(16<<20))
	if err != nil {
		t.Fatal(err)
	}
	for range 9 << 10 { // more than the largest window
		if _, err := z.Write(bytes.Repeat([]byte(" "), 1<<10)); err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		path, body, coding string
		status             int
		want               string
	}{
		{"/logs/default/events", event, "br", 415, `the Content-Encoding \"br\" is not accepted here; accepted: gzip, zstd, identity`},
		{"/logs/default/events", encode(t, "gzip", encode(t, "gzip", event)), "gzip, gzip", 415, "is not accepted"},
		{"/logs", encode(t, "gzip", `{"name":"doors"}`), "deflate", 415, "is not accepted"},
		{"/logs/default/events", event, "gzip", 400, "the body is not gzip"},
		{"/logs/default/events", event, "zstd", 400, "the body is not zstd"},
		{"/logs/default/events", encode(t, "gzip", event) + "more", "gzip", 400, "the body is not gzip"},
		{"/logs/default/events", encode(t, "gzip", event)[:20], "gzip", 400, "the body is not gzip"},
		{"/logs/default/events", encode(t, "gzip", bomb), "gzip", 413, "larger than 16777216 bytes"},
		{"/logs/default/events", encode(t, "zstd", bomb), "zstd", 413, "larger than 16777216 bytes"},
		{"/logs/default/events", wide.String(), "zstd", 400, "window"},
		{"/logs", encode(t, "gzip", bomb), "gzip", 413, "larger than 65536 bytes"},
	} {
		contentType := "application/x-ndjson"
		if tt.path == "/logs" {
			contentType = "application/json"
		}
		got := r.do("POST", tt.path, tt.body, "Content-Type", contentType, "Content-Encoding", tt.coding)
		if got.status != tt.status || !strings.Contains(string(got.body), tt.want) {
			t.Errorf("%s as %s: status %d, want %d with %q: %s", tt.path, tt.coding, got.status, tt.status, tt.want, got.body)
		}
		if accepted := got.header.Get("Accept-Encoding"); (accepted == "gzip, zstd, identity") != (tt.status == 415) {
			t.Errorf("status %d has Accept-Encoding %q", got.status, accepted)
		}
	}
	got := r.do("POST", "/logs/default/events", encode(t, "gzip", event),
		"Content-Type", "application/x-ndjson", "Accept", "application/x-ndjson", "Content-Encoding", "gzip")
	if got.status != 415 || got.header.Get("Accept-Encoding") != "identity" {
		t.Errorf("a stream: status %d, Accept-Encoding %q: %s", got.status, got.header.Get("Accept-Encoding"), got.body)
	}
	if sizes := r.sizes(); sizes["default"] != 0 || len(sizes) != 1 {
		t.Errorf("something was stored: %v", sizes)
	}
	got = r.do("POST", "/logs", encode(t, "gzip", `{"name":"doors"}`), "Content-Type", "application/json", "Content-Encoding", "gzip")
	if got.status != 201 {
		t.Errorf("a log: status %d: %s", got.status, got.body)
	}
}

func TestByteOrderMarks(t *testing.T) {
	t.Parallel()
	r := newRig(t, settings{})
	const mark, lines = "\xef\xbb\xbf", `{"type":"a.b"}` + "\r\n" + `{"type":"a.b"}` + "\r\n"
	for _, accept := range []string{"*/*", "application/x-ndjson"} {
		got := r.do("POST", "/logs/default/events", mark+lines, "Content-Type", "application/x-ndjson", "Accept", accept)
		if n := strings.Count(string(got.body), `"status":201`); got.status != 200 || n != 2 {
			t.Errorf("Accept: %s: status %d, %d events stored: %s", accept, got.status, n, got.body)
		}
		got = r.do("POST", "/logs/default/events", "\xff\xfe{\x00}\x00\r\x00\n\x00{\x00}\x00\r\x00\n\x00",
			"Content-Type", "application/x-ndjson", "Accept", accept)
		if !strings.Contains(string(got.body), "the body is in UTF-16") || strings.Count(string(got.body), "title") != 1 {
			t.Errorf("Accept: %s: UTF-16 is answered with %d: %s", accept, got.status, got.body)
		}
	}
	r.appended(r.do("POST", "/logs/default/events", mark+`{"type":"a.b"}`, "Content-Type", "application/json"), 201)
	r.appended(r.do("POST", "/logs/default/events", mark+`{"a":1}`, "Content-Type", "application/json", "Ce-Type", "a.b"), 201)
	// The place of a mistake counts from the mark on.
	got := r.do("POST", "/logs/default/events", mark+`{"type":1}`, "Content-Type", "application/json")
	if !strings.Contains(string(got.body), `"offset":11`) {
		t.Errorf("the mistake is at byte 11, not where %s says", got.body)
	}
	// Data that is not JSON is stored as it came.
	r.appended(r.do("POST", "/logs/default/events", mark+"x", "Content-Type", "text/plain", "Ce-Type", "a.b"), 201)
	if got := string(r.get("/logs/default/events/6")); !strings.Contains(got, `"data":"`+mark+`x"`) {
		t.Errorf("stored is %s", got)
	}
}

// TestABodyThatStallsIsGivenUp sends half a body, and waits for as long as the next
// bytes may take.
func TestABodyThatStallsIsGivenUp(t *testing.T) {
	t.Parallel()
	r := newRig(t, settings{})
	conn, err := net.Dial("tcp", strings.TrimPrefix(r.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	start := time.Now()
	_, err = io.WriteString(conn, "POST /logs/default/events HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"+
		"Content-Length: 100\r\n\r\n"+`{"type":`)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if took := time.Since(start); resp.StatusCode != 408 || took < 25*time.Second {
		t.Errorf("status %d after %v, want 408 after 30s", resp.StatusCode, took)
	}
}

// TestAClientThatClosesItsSideIsToldSo stops sending: half way, and with the request
// complete but not answered, which net/http takes for leaving. No reply may pass for one
// that events were stored.
func TestAClientThatClosesItsSideIsToldSo(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "stele.db")
	r := newRig(t, settings{store: openSQLite(t, path)})
	b := block(t, path)
	const event = `{"type":"a"}`
	for name, length := range map[string]int{"half way": 100, "complete": len(event)} {
		conn, err := net.Dial("tcp", strings.TrimPrefix(r.url, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		_, err = fmt.Fprintf(conn, "POST /logs/default/events HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"+
			"Content-Length: %d\r\n\r\n%s", length, event)
		if err != nil {
			t.Fatal(err)
		}
		if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
			t.Fatal(err)
		}
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != 400 || resp.Header.Get("Content-Type") != "application/problem+json" {
			t.Errorf("%s: status %d, %s", name, resp.StatusCode, resp.Header.Get("Content-Type"))
		}
	}
	b.lift()
}
