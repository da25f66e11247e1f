package api_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stele-log/stele/internal/test/dbtest"
	"github.com/stele-log/stele/storage"
	"github.com/stele-log/stele/storage/storagetest"
)

// An openStream is a stream of events to the default log.
type openStream struct {
	*rig
	to    *io.PipeWriter
	lines *bufio.Reader
	resp  *http.Response
}

// stream opens a stream.
func (r *rig) stream() *openStream {
	r.Helper()
	from, to := io.Pipe()
	req, err := http.NewRequestWithContext(r.Context(), "POST", r.log+"/events", from)
	if err != nil {
		r.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-ndjson")
	req.Header.Set("Accept", "application/x-ndjson")
	resp, err := r.client.Transport.(checked).base.RoundTrip(req) // it is read while it is open
	if err != nil {
		r.Fatal(err)
	}
	r.Cleanup(func() { to.Close(); resp.Body.Close() })
	if resp.StatusCode != http.StatusOK || resp.Header.Get("Content-Type") != "application/x-ndjson" {
		r.Fatalf("status %d, %s", resp.StatusCode, resp.Header)
	}
	return &openStream{r, to, bufio.NewReader(resp.Body), resp}
}

func (s *openStream) send(text string) {
	s.Helper()
	if _, err := io.WriteString(s.to, text); err != nil {
		s.Fatal(err)
	}
}

// A streamLine is a line of a reply.
type streamLine struct {
	appended
	Heartbeat string
	End       *struct {
		Status int
		Detail string
	}
}

// next returns the next line of the reply, or false at its end.
func (s *openStream) next() (l streamLine, ok bool) {
	s.Helper()
	text, err := s.lines.ReadBytes('\n')
	if err == io.EOF && len(text) == 0 {
		return l, false
	}
	if err != nil {
		s.Fatalf("%v after %q", err, text)
	}
	s.decode(text, &l)
	return l, true
}

// want reads the line of an event that is stored at an index.
func (s *openStream) want(index uint64) streamLine {
	s.Helper()
	l, ok := s.next()
	if !ok || l.Index == nil || *l.Index != index || l.Status/100 != 2 {
		s.Fatalf("answered with %+v, want index %d", l, index)
	}
	return l
}

func TestStreamAnswersEachLineAsSoonAsItIsDurable(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, open func() storage.Store) {
		r := newRig(t, settings{store: open()})
		s := r.stream()
		for i := range uint64(10) {
			s.send(fmt.Sprintf(`{"id":"%d","source":"s","type":"t"}`+"\n", i))
			if l := s.want(i); l.ID != fmt.Sprint(i) || l.Status != 201 {
				t.Errorf("line %d is answered with %+v", i, l)
			}
			r.get(fmt.Sprintf("/logs/default/events/%d", i))
		}
		s.send(`{"id":"3","source":"s","type":"t"}` + "\n")
		if l := s.want(3); !l.Duplicate || l.Status != 200 {
			t.Errorf("a duplicate is answered with %+v", l)
		}
		s.send(`{"id":"last","source":"s","type":"t"}`) // no line end
		s.to.Close()
		s.want(10)
		if l, ok := s.next(); ok {
			t.Errorf("after the end comes %+v", l)
		}
		storagetest.Check(t, r.defaultLog().Stored)
	})
}

// TestStreamAnswersInOrder sends many events of which some are wrong, in pieces
// that do not end where lines do.
func TestStreamAnswersInOrder(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, open func() storage.Store) {
		r := newRig(t, settings{store: open()})
		const n = 5000
		var all bytes.Buffer
		want := make([]string, 0, n) // id, or the line that is named
		for i := range n {
			line := i + 1 + i/7 // a blank line each seven
			switch {
			case i%100 == 50:
				fmt.Fprintf(&all, `{"id":"%d","type":""}`+"\n", i)
				want = append(want, fmt.Sprintf("line %d: ", line))
			case i == 1234:
				fmt.Fprintf(&all, `{"id":"%d",%s"type":"t"}`+"\n", i, strings.Repeat(" ", 300<<10))
				want = append(want, fmt.Sprintf("line %d: the line is longer", line))
			case i == 2345: // of line 300, with other content
				fmt.Fprintf(&all, `{"id":"300","source":"s","type":"other"}`+"\n")
				want = append(want, "has the source")
			default:
				fmt.Fprintf(&all, `{"id":"%d","source":"s","type":"t"}`+"\n", i)
				want = append(want, fmt.Sprint(i))
			}
			if i%7 == 6 {
				all.WriteString(" \n")
			}
		}
		s := r.stream()
		go func() {
			for size := 1; all.Len() > 0; size = size*3%10_007 + 1 {
				if _, err := s.to.Write(all.Next(size)); err != nil {
					break
				}
			}
			s.to.Close()
		}()
		stored := uint64(0)
		for i, w := range want {
			l, ok := s.next()
			switch {
			case !ok:
				t.Fatalf("the reply ends before event %d", i)
			case l.Problem != nil:
				if !strings.Contains(string(l.Problem), w) || strings.Contains(string(l.Problem), `"item"`) {
					t.Fatalf("event %d: %s, want %s", i, l.Problem, w)
				}
			case l.ID != w || *l.Index != stored:
				t.Fatalf("event %d is answered with %+v, want id %s at %d", i, l, w, stored)
			default:
				stored++
			}
		}
		if l, ok := s.next(); ok {
			t.Errorf("after the end comes %+v", l)
		}
		if head, err := r.defaultLog().Stored.Head(t.Context()); err != nil || head.Size != stored {
			t.Errorf("the log has %v, %v; %d events were acknowledged", head, err, stored)
		}
	})
}

func TestStreamIsOneOnlyIfItIsAskedFor(t *testing.T) {
	t.Parallel()
	r := newRig(t, settings{})
	for _, tt := range []struct{ contentType, accept, want string }{
		{"application/x-ndjson", "", "application/json"},
		{"application/x-ndjson", "*/*", "application/json"},
		{"application/x-ndjson", "application/x-ndjson;q=0", "application/json"},
		{"application/x-ndjson", "text/html, application/x-ndjson", "application/x-ndjson"},
		{"application/jsonl", "application/jsonl", "application/x-ndjson"},
		{"application/json", "application/x-ndjson", "application/json"},
	} {
		got := r.do("POST", "/logs/default/events", `{"type":"t"}`+"\n", "Content-Type", tt.contentType, "Accept", tt.accept)
		if ct := got.header.Get("Content-Type"); ct != tt.want || got.status/100 != 2 {
			t.Errorf("%s, Accept: %s: %d, %s; want %s", tt.contentType, tt.accept, got.status, ct, tt.want)
		}
	}
	got := r.do("POST", "/logs/default/events?wait=published", "{}\n",
		"Content-Type", "application/x-ndjson", "Accept", "application/x-ndjson")
	if got.status != 400 || !strings.Contains(string(got.body), "receipts") {
		t.Errorf("waiting for receipts: %d, %s", got.status, got.body)
	}
}

// TestStreamEndsWithTheServer stops the server while streams are open: each has
// an answer for all that was read of it, and is told why it ends.
func TestStreamEndsWithTheServer(t *testing.T) {
	t.Parallel()
	r := newRig(t, settings{})
	idle, partial := r.stream(), r.stream()
	partial.send(`{"id":"1","source":"s","type":"t"}` + "\n" + `{"id":"2","sou`)
	partial.want(0)
	start := time.Now()
	r.stop()
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("the server took %v to stop", took)
	}
	for _, s := range []*openStream{idle, partial} {
		if l, ok := s.next(); !ok || l.End == nil || l.End.Status != 503 || !strings.Contains(l.End.Detail, "stopping") {
			t.Errorf("the stream ends with %+v", l)
		}
		if l, ok := s.next(); ok {
			t.Errorf("after the end comes %+v", l)
		}
	}
}

// TestStreamWaitsForRoomInTheQueue sends more than the log's queue holds.
func TestStreamWaitsForRoomInTheQueue(t *testing.T) {
	t.Parallel()
	r := newRig(t, settings{maxQueue: 5000})
	s := r.stream()
	const n = 3000
	go func() {
		for i := range n {
			if _, err := fmt.Fprintf(s.to, `{"id":"%d","source":"s","type":"t","data":"%s"}`+"\n", i, strings.Repeat("x", 300)); err != nil {
				break
			}
		}
		s.to.Close()
	}()
	for i := range uint64(n) {
		s.want(i)
	}
}

func TestStreamOfALogThatIsNotWrittenToEnds(t *testing.T) {
	t.Parallel()
	store := dbtest.SQLite(t)()
	leading := newRig(t, settings{store: store})
	r := newRig(t, settings{store: store, dir: leading.dir})
	s := r.stream()
	s.send(`{"type":"t"}` + "\n")
	if l, ok := s.next(); !ok || l.End == nil || l.End.Status != 503 || !strings.Contains(l.End.Detail, "not writing") {
		t.Errorf("answered with %+v", l)
	}
	if l, ok := s.next(); ok {
		t.Errorf("after the end comes %+v", l)
	}
}

// TestStreamThatStallsEnds waits as long as clients may take for a line. Until
// then the stream shows that it is alive.
func TestStreamThatStallsEnds(t *testing.T) {
	t.Parallel()
	s := newRig(t, settings{}).stream()
	s.send(`{"type":`)
	l, ok := s.next()
	if _, err := time.Parse(time.RFC3339, l.Heartbeat); !ok || err != nil {
		t.Errorf("first comes %+v, want a heartbeat: %v", l, err)
	}
	for ok && l.Heartbeat != "" {
		l, ok = s.next()
	}
	if l.End == nil || l.End.Status != 408 || !strings.Contains(l.End.Detail, "the rest of line 1") {
		t.Errorf("the stream ends with %+v", l)
	}
}

// TestStreamThatIsRefusedIsAnsweredAtOnce sends no body.
func TestStreamThatIsRefusedIsAnsweredAtOnce(t *testing.T) {
	t.Parallel()
	r := newRig(t, settings{})
	for path, want := range map[string]int{"/logs/nope/events": 404, "/logs/default/events?wait=published": 400} {
		from, to := io.Pipe()
		defer to.Close()
		req, err := http.NewRequestWithContext(t.Context(), "POST", r.url+path, from)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/x-ndjson")
		req.Header.Set("Accept", "application/x-ndjson")
		start := time.Now()
		resp, err := r.client.Transport.(checked).base.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if took := time.Since(start); resp.StatusCode != want || took > 10*time.Second {
			t.Errorf("%s: status %d after %v, want %d at once", path, resp.StatusCode, took, want)
		}
	}
}

// TestBrokenStreamIsAnsweredAsFarAsItCame ends the body without its last chunk, as
// a client does that only reads on.
func TestBrokenStreamIsAnsweredAsFarAsItCame(t *testing.T) {
	t.Parallel()
	r := newRig(t, settings{})
	const n = 2000
	var lines strings.Builder
	for i := range n {
		fmt.Fprintf(&lines, `{"id":"%d","source":"s","type":"t"}`+"\n", i)
	}
	conn, err := net.Dial("tcp", strings.TrimPrefix(r.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "POST /logs/default/events HTTP/1.1\r\nHost: a\r\nContent-Type: application/x-ndjson\r\n"+
		"Accept: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n", lines.Len(), lines.String())
	if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	answers := strings.Split(strings.TrimSpace(string(body)), "\n")
	if len(answers) != n+1 || !strings.Contains(answers[n], `{"end":{"title":"Bad Request","status":400`) {
		t.Errorf("%d lines, the last of them %s; want %d results and an end", len(answers), answers[len(answers)-1], n)
	}
}

// TestServerEndsThoughAClientDoesNotRead fills the reply's buffers first. The stream has
// to end before the listener cuts requests off.
func TestServerEndsThoughAClientDoesNotRead(t *testing.T) {
	t.Parallel()
	r := newRig(t, settings{})
	s := r.stream()
	line := strings.Repeat("x", 300) + "\n" // is no event: its answer is longer
	stuck := make(chan struct{})
	go func() {
		defer close(stuck)
		for {
			if _, err := io.WriteString(s.to, strings.Repeat(line, 100)); err != nil {
				return
			}
		}
	}()
	select {
	case <-stuck:
		t.Error("the stream ended")
	case <-time.After(2 * time.Second):
	}
	if err := r.stop(); err != nil {
		t.Errorf("the stream did not end by itself: %v", err)
	}
}

// A hanging store does not answer until nobody wants to know.
type hanging struct{ storage.Store }

func (hanging) Ping(ctx context.Context) error {
	<-ctx.Done()
	return ctx.Err()
}

func TestClientThatLeavesEndsItsRequest(t *testing.T) {
	t.Parallel()
	r := newRig(t, settings{store: hanging{dbtest.SQLite(t)()}})
	shows := func(line string) func() bool {
		return func() bool { return strings.Contains(string(r.get("/metrics")), "\n"+line+"\n") }
	}
	s := r.stream()
	ctx, leave := context.WithCancel(t.Context())
	left := make(chan error, 1)
	go func() {
		req, err := http.NewRequestWithContext(ctx, "GET", r.url+"/readyz", nil)
		if err == nil {
			_, err = r.client.Transport.(checked).base.RoundTrip(req)
		}
		left <- err
	}()
	r.waitUntil("both requests are under way", shows("stele_http_requests_in_flight 3"))
	leave()
	if err := <-left; !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want the context's", err)
	}
	s.to.CloseWithError(io.ErrUnexpectedEOF)
	s.resp.Body.Close()
	r.waitUntil("both requests have ended", shows("stele_http_requests_in_flight 1"))
	r.waitUntil("no stream is open", shows("stele_http_streams 0"))
	for _, line := range []string{`stele_http_streams_total{code="499"} 1`,
		`stele_http_request_seconds_count{code="499",method="GET",route="/readyz"} 1`} {
		if !shows(line)() {
			t.Errorf("the metrics do not have %s", line)
		}
	}
}
