package httpserver_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stele-log/stele/internal/httpserver"
)

func TestReplies(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("long ", 100_000)
	for name, tc := range map[string]struct {
		method string
		answer http.HandlerFunc
		status int
		body   string
		fields http.Header
	}{
		"nothing":                   {"GET", func(http.ResponseWriter, *http.Request) {}, 200, "", http.Header{"Content-Length": {"0"}}},
		"body alone":                {"GET", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "a", "b") }, 200, "ab", http.Header{"Content-Length": {"2"}}},
		"long body":                 {"GET", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, long) }, 200, long, http.Header{"Content-Length": {"500000"}}},
		"long body in two parts":    {"GET", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, long); fmt.Fprint(w, long) }, 200, long + long, nil},
		"HEAD":                      {"HEAD", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "ab") }, 200, "", http.Header{"Content-Length": {"2"}}},
		"HEAD of a long body":       {"HEAD", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, long) }, 200, "", http.Header{"Content-Length": {"500000"}}},
		"no content":                {"GET", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(204) }, 204, "", http.Header{"Content-Length": nil}},
		"status that means nothing": {"GET", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(499) }, 499, "", nil},
		"second status":             {"GET", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(404); w.WriteHeader(500) }, 404, "", nil},
		"status after the body":     {"GET", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "a"); w.WriteHeader(500) }, 200, "a", nil},
		"interim status":            {"GET", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(103); w.WriteHeader(201) }, 201, "", nil},
		"fields": {"GET", func(w http.ResponseWriter, _ *http.Request) {
			w.Header()["X-Two"] = []string{"a", "b"}
			w.Header().Set("Content-Type", "text/tea")
			w.WriteHeader(200)
			w.Header().Set("X-Late", "c")
		}, 200, "", http.Header{"X-Two": {"a", "b"}, "Content-Type": {"text/tea"}, "X-Late": nil, "Server": nil}},
		"no type":            {"GET", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "<p>") }, 200, "<p>", http.Header{"Content-Type": nil}},
		"field in two lines": {"GET", func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("X", "a\r\nY: b") }, 200, "", http.Header{"X": {"a  Y: b"}, "Y": nil}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, address := serve(t, tc.answer)
			c := dial(t, address)
			for range 2 { // the second finds nothing of the first
				req, err := http.NewRequest(tc.method, "http://a/", nil)
				if err != nil {
					t.Fatal(err)
				}
				if err := req.Write(c); err != nil {
					t.Fatal(err)
				}
				resp, err := http.ReadResponse(c.in, req)
				if err != nil {
					t.Fatal(err)
				}
				body, err := io.ReadAll(resp.Body)
				if err != nil || resp.StatusCode != tc.status || string(body) != tc.body {
					t.Errorf("status %d, %.100q, %v; want %d, %.100q", resp.StatusCode, body, err, tc.status, tc.body)
				}
				for name, want := range tc.fields {
					if got := resp.Header[name]; fmt.Sprint(got) != fmt.Sprint(want) {
						t.Errorf("%s: %q, want %q", name, got, want)
					}
				}
				if resp.Header.Get("Date") == "" {
					t.Error("the reply has no date")
				}
			}
		})
	}
}

// A client that has not sent its body to the end reads the reply nevertheless,
// and the connection ends without a reset.
func TestReplyBeforeTheBodyIsRead(t *testing.T) {
	t.Parallel()
	_, address := serve(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "too large", http.StatusRequestEntityTooLarge)
	}))
	for name, tc := range map[string]struct {
		field string
		body  string
		kept  bool
	}{
		"little is left": {"Content-Length: 100000", strings.Repeat("x", 100_000), true},
		"much is left":   {"Content-Length: 30000000", strings.Repeat("x", 300_000), false},
		"chunks":         {"Transfer-Encoding: chunked", "1c9c380\r\n" + strings.Repeat("x", 300_000), false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := dial(t, address)
			c.say("POST / HTTP/1.1\r\nHost: a\r\n" + tc.field + "\r\n\r\n" + tc.body)
			resp, _ := c.hear(http.StatusRequestEntityTooLarge)
			if resp.Close == tc.kept {
				t.Errorf("Connection: close is %t, the connection kept: %t", resp.Close, tc.kept)
			}
			if !tc.kept {
				c.ends()
				return
			}
			c.say(next)
			c.hear(http.StatusRequestEntityTooLarge)
		})
	}
}

// What a handler keeps of a request stays what it was.
func TestStringsMayBeKept(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	kept := map[string]string{}
	_, address := serve(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		n := r.Header.Get("N")
		for what, text := range map[string]string{"field": n, "path": r.URL.Path, "uri": r.RequestURI, "host": r.Host, "method": r.Method} {
			kept[what+" "+strings.Clone(n)] = text
		}
	}))
	c := dial(t, address)
	for n := range 50 {
		c.say(fmt.Sprintf("M%02d /path/%02d HTTP/1.1\r\nHost: host%02d\r\nN: %02d\r\n\r\n", n, n, n, n))
		c.hear(http.StatusOK)
	}
	for n := range 50 {
		for what, want := range map[string]string{"field": "%02d", "path": "/path/%02d", "uri": "/path/%02d", "host": "host%02d", "method": "M%02d"} {
			if got := kept[fmt.Sprintf("%s %02d", what, n)]; got != fmt.Sprintf(want, n) {
				t.Fatalf("%s of request %d became %q", what, n, got)
			}
		}
	}
}

func TestClientsAtATimeGetTheirOwnReplies(t *testing.T) {
	t.Parallel()
	_, address := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		w.Header().Set("N", r.Header.Get("N"))
		fmt.Fprintf(w, "%s %s", r.URL.Path, body)
	}))
	var clients sync.WaitGroup
	for k := range 16 {
		c := dial(t, address)
		clients.Go(func() {
			for n := range 40 {
				what := fmt.Sprintf("%d.%d", k, n)
				body := strings.Repeat(what, n*n*10)
				c.say(fmt.Sprintf("POST /%s HTTP/1.1\r\nHost: a\r\nN: %s\r\nContent-Length: %d\r\n\r\n%s", what, what, len(body), body))
				resp, got, err := c.read()
				if err != nil || resp.Header.Get("N") != what || got != "/"+what+" "+body {
					t.Errorf("the reply to %s: %v, %.50q, %v", what, resp, got, err)
					return
				}
			}
		})
	}
	clients.Wait()
}

func TestPanicEndsTheConnectionAlone(t *testing.T) {
	t.Parallel()
	_, address := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X", "of the panic")
		fmt.Fprint(w, "begun")
		switch r.URL.Path {
		case "/abort":
			panic(http.ErrAbortHandler)
		case "/panic":
			panic("at the disco")
		}
	}))
	for _, path := range []string{"/abort", "/panic"} {
		other, c := dial(t, address), dial(t, address)
		c.say("GET " + path + " HTTP/1.1\r\nHost: a\r\n\r\n")
		c.ends()
		other.say(next)
		if _, body := other.hear(http.StatusOK); body != "begun" {
			t.Errorf("the next reply is %q", body)
		}
	}
}

func TestTooManyConnections(t *testing.T) {
	t.Parallel()
	s := httpserver.New(http.NotFoundHandler(), quiet)
	if was := httpserver.SetConnections(s, 2); was != httpserver.MaxConnections {
		t.Errorf("%d connections, want %d", was, httpserver.MaxConnections)
	}
	l := listen(t)
	go func() { _ = s.Serve(l) }()
	t.Cleanup(func() { _ = s.Shutdown(context.Background()) })
	first, second := dial(t, l.Addr().String()), dial(t, l.Addr().String())
	for _, c := range []client{first, second} {
		c.say(next)
		c.hear(http.StatusNotFound)
	}
	third := dial(t, l.Addr().String())
	third.hear(http.StatusServiceUnavailable)
	third.ends()
	first.Close()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
		fourth := dial(t, l.Addr().String())
		fourth.say(next)
		if resp, _, err := fourth.read(); err == nil && resp.StatusCode == http.StatusNotFound {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("no connection is served in the place of the one that was closed")
		}
	}
	second.say(next)
	second.hear(http.StatusNotFound)
}

func TestShutdownAnswersWhatIsUnderWay(t *testing.T) {
	t.Parallel()
	asked, answer := make(chan bool), make(chan bool)
	s := httpserver.New(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked <- true
		<-answer
		fmt.Fprint(w, "answered")
	}), quiet)
	l := listen(t)
	served := make(chan error, 1)
	go func() { served <- s.Serve(l) }()
	idle, c := dial(t, l.Addr().String()), dial(t, l.Addr().String())
	idle.say(next)
	<-asked
	answer <- true
	idle.hear(http.StatusOK)
	c.say(next)
	<-asked

	shut := make(chan error, 1)
	go func() { shut <- s.Shutdown(context.Background()) }()
	if err := <-served; err != nil {
		t.Errorf("Serve: %v", err)
	}
	idle.ends()
	select {
	case err := <-shut:
		t.Errorf("Shutdown did not wait: %v", err)
	default:
	}
	answer <- true
	if resp, body := c.hear(http.StatusOK); body != "answered" || !resp.Close {
		t.Errorf("answer %q, the last: %t", body, resp.Close)
	}
	c.ends()
	if err := <-shut; err != nil {
		t.Errorf("Shutdown: %v", err)
	}
}

func TestShutdownGivesUpInTime(t *testing.T) {
	t.Parallel()
	asked, answer := make(chan bool), make(chan bool)
	s := httpserver.New(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		asked <- true
		<-answer
	}), quiet)
	l := listen(t)
	go func() { _ = s.Serve(l) }()
	dial(t, l.Addr().String()).say(next)
	<-asked
	defer close(answer)
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if err := s.Shutdown(ctx); err != context.DeadlineExceeded {
		t.Errorf("Shutdown: %v", err)
	}
}

func TestCloseEndsTheContextOfRequests(t *testing.T) {
	t.Parallel()
	asked := make(chan bool)
	s, address := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked <- true
		<-r.Context().Done()
		fmt.Fprint(w, r.Context().Err())
	}))
	c := dial(t, address)
	c.say(next)
	<-asked
	s.Close()
	if _, body := c.hear(http.StatusOK); body != context.Canceled.Error() {
		t.Errorf("answer %q", body)
	}
}
