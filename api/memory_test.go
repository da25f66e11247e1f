package api_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stele-log/stele/internal/test/dbtest"
)

const (
	budget  = 256 << 20 // of all requests, in bytes
	reserve = 64 << 20  // of it, for small ones
)

var claimedLine = regexp.MustCompile(`(?m)^stele_http_claimed_bytes (\S+)$`)

// claimed returns how many bytes the requests under way have claimed.
func (r *rig) claimed() int {
	r.Helper()
	w := httptest.NewRecorder()
	r.admin.ServeHTTP(w, httptest.NewRequestWithContext(r.Context(), "GET", "/metrics", nil))
	m := claimedLine.FindSubmatch(w.Body.Bytes())
	if m == nil {
		r.Fatal("the metrics do not have the claimed bytes")
	}
	n, err := strconv.ParseFloat(string(m[1]), 64)
	if err != nil {
		r.Fatal(err)
	}
	return int(n)
}

// A stalledBody is a request whose body lacks its end, and goes on a byte at a time.
type stalledBody struct {
	net.Conn
	reply chan *http.Response // what it is answered with
}

// stall sends n bytes of a longer body, and returns once they have been read or refused.
// What is left is more than net/http would wait for before it replies.
func (r *rig) stall(n int) *stalledBody {
	r.Helper()
	before := r.claimed()
	conn, err := net.Dial("tcp", strings.TrimPrefix(r.url, "http://"))
	if err != nil {
		r.Fatal(err)
	}
	r.Cleanup(func() { conn.Close() })
	s := &stalledBody{conn, make(chan *http.Response, 1)}
	go func() {
		fmt.Fprintf(conn, "POST /logs/default/events HTTP/1.1\r\nHost: a\r\nContent-Type: application/x-ndjson\r\nContent-Length: %d\r\n\r\n", n+(300<<10))
		_, err := io.WriteString(conn, strings.Repeat("\n", n))
		for err == nil { // until the connection is closed
			time.Sleep(5 * time.Second)
			_, err = io.WriteString(conn, "\n")
		}
	}()
	go func() {
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err == nil {
			s.reply <- resp
		}
	}()
	r.waitUntil("the body is read or refused", func() bool { return len(s.reply) > 0 || r.claimed() >= before+n })
	return s
}

// fill stalls bodies of n bytes until one is refused, and returns the others.
func (r *rig) fill(n int) (stalled []*stalledBody) {
	r.Helper()
	for {
		s := r.stall(n)
		if len(s.reply) > 0 {
			if resp := <-s.reply; resp.StatusCode != 503 || resp.Header.Get("Retry-After") != "1" {
				r.Fatalf("the body for which there is no room: %d, Retry-After %q", resp.StatusCode, resp.Header.Get("Retry-After"))
			}
			return stalled
		}
		stalled = append(stalled, s)
	}
}

func TestBodiesShareOneBudget(t *testing.T) {
	t.Parallel()
	r := newRig(t, settings{})
	const large = 15 << 20
	stalled := r.fill(large)
	if want := (budget - reserve) / (large + (300 << 10)); len(stalled) != want {
		t.Errorf("there was room for %d large bodies, want %d", len(stalled), want)
	}
	r.appended(r.post("/logs/default/events", `{"type":"a"}`), 201) // small ones still get through

	for _, size := range []int{1 << 20, 1 << 16} {
		stalled = append(stalled, r.fill(size)...)
	}
	if n := r.claimed(); n > budget || n < budget-1<<17 {
		t.Errorf("%d bytes are claimed of %d", n, budget)
	}
	event := fmt.Sprintf(`{"type":"a","data":%q}`, strings.Repeat("x", 60_000))
	if got := r.post("/logs/default/events", strings.Repeat(event+"\n", 4)); got.status != 503 || got.header.Get("Retry-After") != "1" {
		t.Errorf("where there is no memory left: status %d: %s", got.status, got.body)
	}
	for _, s := range stalled {
		s.Close()
	}
	r.waitUntil("all memory is given back", func() bool { return r.claimed() == 0 })
	r.appended(r.post("/logs/default/events", event), 201)
}

// TestAStreamWaitsForMemory takes all of it while a stream is open.
func TestAStreamWaitsForMemory(t *testing.T) {
	t.Parallel()
	r := newRig(t, settings{})
	s := r.stream()
	s.send(`{"type":"a"}` + "\n")
	s.want(0)
	stalled := r.fill(15 << 20)
	for _, size := range []int{1 << 20, 1 << 16} {
		stalled = append(stalled, r.fill(size)...)
	}
	s.send(strings.Repeat(`{"type":"b"}`+"\n", 1000))
	time.Sleep(300 * time.Millisecond)
	if size := r.sizes()["default"]; size != 1 {
		t.Errorf("%d entries are stored though there is no memory", size)
	}
	for _, s := range stalled {
		s.Close()
	}
	for stored := 1; stored <= 1000; {
		switch l, ok := s.next(); {
		case !ok || l.Index == nil && l.Heartbeat == "":
			t.Fatalf("answered with %+v, want index %d", l, stored)
		case l.Heartbeat == "":
			stored++
		}
	}
}

// TestAReplyThatIsNotReadEnds does not read the results of a batch, for as long as a
// client may: their memory is claimed until then.
func TestAReplyThatIsNotReadEnds(t *testing.T) {
	t.Parallel()
	r := newRig(t, settings{store: dbtest.SQLite(t)()})
	const n = 10_000
	var lines strings.Builder
	for i := range n {
		fmt.Fprintf(&lines, `{"type":"a","source":"s","id":"%d"}`+"\n", i)
	}
	conn, err := net.Dial("tcp", strings.TrimPrefix(r.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.(*net.TCPConn).SetReadBuffer(4096); err != nil {
		t.Fatal(err)
	}
	_, err = fmt.Fprintf(conn, "POST /logs/default/events?wait=published HTTP/1.1\r\nHost: a\r\nContent-Type: application/x-ndjson\r\n"+
		"Content-Length: %d\r\n\r\n%s", lines.Len(), lines.String())
	if err != nil {
		t.Fatal(err)
	}
	r.waitUntil("the events are stored", func() bool { return r.sizes()["default"] == n })
	start := time.Now()
	if claimed := r.claimed(); claimed < n*500 {
		t.Errorf("%d bytes are claimed for %d events that are not answered", claimed, n)
	}
	r.waitUntil("the memory is given back", func() bool { return r.claimed() == 0 })
	if took := time.Since(start); took < 20*time.Second {
		t.Errorf("the reply was given up after %v, want 30s", took)
	}
}

// TestReceiptsOfABatchAreMadeAsTheyAreSent reads the reply to a batch as large as one
// may be.
func TestReceiptsOfABatchAreMadeAsTheyAreSent(t *testing.T) {
	t.Parallel()
	r := newRig(t, settings{})
	got := r.post("/logs/default/events?wait=published", strings.Repeat(`{"type":"a"}`+"\n", 10_000))
	results := r.results(got)
	if n := strings.Count(string(got.body), "\u2014 "+origin); n != 1 || len(results) != 10_000 {
		t.Errorf("%d results under %d checkpoints, want 10,000 under one", len(results), n)
	}
	for i, a := range results {
		if i%1111 == 0 && a.Receipt != string(r.get(fmt.Sprintf("/logs/default/events/%d/receipt", i))) {
			t.Errorf("receipt %d is another than the one to be had later", i)
		}
	}
}

// TestQuietStreamsLeaveMemoryToOthers has many streams open, each of which has sent an
// event, and nothing since.
func TestQuietStreamsLeaveMemoryToOthers(t *testing.T) {
	t.Parallel()
	r := newRig(t, settings{})
	const streams = 3000
	var open []*io.PipeWriter
	var wg sync.WaitGroup
	var refused atomic.Int64
	gate := make(chan struct{}, 50)
	answered := make(chan struct{}, streams)
	for i := range streams {
		lines, w := io.Pipe()
		open = append(open, w)
		gate <- struct{}{}
		wg.Go(func() {
			go fmt.Fprintf(w, `{"type":"a","source":"s","id":"%d"}`+"\n", i)
			req := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/logs/default/events", lines)
			req.Header.Set("Content-Type", "application/x-ndjson")
			req.Header.Set("Accept", "application/x-ndjson")
			out := &firstLine{ResponseRecorder: httptest.NewRecorder(), came: func() { <-gate; answered <- struct{}{} }}
			r.handler.ServeHTTP(out, req)
			if out.Code != http.StatusOK {
				refused.Add(1)
			}
		})
	}
	for range streams {
		<-answered
	}
	got := r.do(http.MethodPost, "/logs/default/events", `{"type":"b"}`, "Content-Type", "application/json")
	if got.status != http.StatusCreated || refused.Load() > 0 {
		t.Errorf("beside %d streams an event is answered with %d %s; %d streams were refused", streams, got.status, got.body, refused.Load())
	}
	for _, w := range open {
		_ = w.Close()
	}
	wg.Wait()
}

// A firstLine records a reply, and calls came once something of its body has come.
type firstLine struct {
	*httptest.ResponseRecorder
	came func()
	once sync.Once
}

func (f *firstLine) Write(b []byte) (int, error) {
	f.once.Do(f.came)
	return f.ResponseRecorder.Write(b)
}

func (f *firstLine) SetReadDeadline(time.Time) error  { return nil }
func (f *firstLine) SetWriteDeadline(time.Time) error { return nil }
func (f *firstLine) EnableFullDuplex() error          { return nil }
