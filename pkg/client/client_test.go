package client_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stele-log/stele/pkg/client"
)

func TestNewRefusesWhatCannotWork(t *testing.T) {
	t.Parallel()
	for _, cfg := range []client.Config{
		{},
		{URL: "127.0.0.1:8080"},
		{URL: "ftp://log.example"},
		{URL: "http://"},
		{URL: "http://user:secret@log.example"},
		{URL: "http://log.example/?a=b"},
		{URL: "http://log.example", Token: "secret\n"},
		{URL: "http://log.example", Token: "secret secret"},
	} {
		if _, err := client.New(cfg); err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("New(%+v): error %v", cfg, err)
		}
	}
}

func TestPrefixIsBelowTheURL(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ url, log, want string }{
		{"http://log.example", "", "http://log.example/logs/default"},
		{"http://log.example/", "doors", "http://log.example/logs/doors"},
		{"https://log.example:8443/a/", "a/b", "https://log.example:8443/a/logs/a%2Fb"},
	} {
		c, err := client.New(client.Config{URL: test.url, Log: test.log})
		if err != nil {
			t.Fatal(err)
		}
		if got := c.Prefix(); got != test.want {
			t.Errorf("Prefix of %s: %s, want %s", test.url, got, test.want)
		}
	}
}

func TestTokenStaysWithTheServer(t *testing.T) {
	t.Parallel()
	const token = "tell-nobody"
	leaked := make(chan string, 10)
	other := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		leaked <- r.Method + r.Header.Get("Authorization")
	}))
	defer other.Close()
	seen := ""
	home := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		seen = r.Header.Get("Authorization")
		http.Redirect(w, r, other.URL, http.StatusTemporaryRedirect)
	}))
	defer home.Close()

	c, err := client.New(client.Config{URL: home.URL, Token: token})
	if err != nil {
		t.Fatal(err)
	}
	_, appendErr := c.Append(t.Context(), client.Event{Type: "a"})
	_, getErr := c.Entry(t.Context(), 0)
	for _, err := range []error{appendErr, getErr} {
		if err == nil || strings.Contains(err.Error(), token) || !strings.Contains(err.Error(), other.URL) {
			t.Errorf("redirected: error %v", err)
		}
	}
	if seen != "Bearer "+token {
		t.Errorf("the server got %q", seen)
	}
	if len(leaked) > 0 {
		t.Errorf("the other server got %q", <-leaked)
	}
}

func TestContextEndsRetries(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &server{fail: func(http.ResponseWriter, *http.Request, int) bool { drop(); return true }}
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		start := time.Now()
		_, err := newClient(t, s, client.Config{}).Entry(ctx, 0)
		if !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != 3*time.Second {
			t.Errorf("error %v after %v", err, time.Since(start))
		}
	})
}

func TestCreateLogIsSentOnce(t *testing.T) {
	t.Parallel()
	s := &server{fail: func(http.ResponseWriter, *http.Request, int) bool { drop(); return true }}
	_, err := newClient(t, s, client.Config{}).CreateLog(t.Context(), client.NewLog{Name: "a"})
	if err == nil || len(s.requests) != 1 {
		t.Errorf("error %v after %d requests", err, len(s.requests))
	}
}

func TestReadsLogsEntriesAndReceipts(t *testing.T) {
	t.Parallel()
	answers := map[string]string{
		"GET /logs":                    `{"logs":[{"name":"a","size":7},{"name":"b"}]}`,
		"POST /logs":                   `{"name":"c","origin":"x/c","vkeys":["k"]}`,
		"GET /logs/a":                  `{"name":"a","vkey":"k","size":7,"published":5}`,
		"GET /logs/a/events/3":         `{"type":"t"}`,
		"GET /logs/a/events/3/receipt": "receipt",
		"GET /logs/a/events/3/receipt?wait=published": "waited",
	}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		answer, ok := answers[r.Method+" "+r.URL.RequestURI()]
		if !ok {
			w.Header().Set("Content-Type", "application/problem+json")
			w.WriteHeader(http.StatusNotFound)
			answer = `{"status":404,"title":"Not Found","detail":"nothing here"}`
		}
		_, _ = w.Write([]byte(answer))
	}))
	defer s.Close()
	c, err := client.New(client.Config{URL: s.URL, Log: "a"})
	if err != nil {
		t.Fatal(err)
	}
	logs, err := c.Logs(t.Context())
	if err != nil || len(logs) != 2 || logs[0].Size != 7 {
		t.Errorf("Logs: %+v, %v", logs, err)
	}
	if l, err := c.CreateLog(t.Context(), client.NewLog{Name: "c"}); err != nil || l.Origin != "x/c" {
		t.Errorf("CreateLog: %+v, %v", l, err)
	}
	if l, err := c.Info(t.Context()); err != nil || l.VKey != "k" || l.Published != 5 {
		t.Errorf("Info: %+v, %v", l, err)
	}
	if e, err := c.Entry(t.Context(), 3); err != nil || string(e) != `{"type":"t"}` {
		t.Errorf("Entry: %s, %v", e, err)
	}
	if r, err := c.Receipt(t.Context(), 3, false); err != nil || string(r) != "receipt" {
		t.Errorf("Receipt: %s, %v", r, err)
	}
	if r, err := c.Receipt(t.Context(), 3, true); err != nil || string(r) != "waited" {
		t.Errorf("Receipt, waiting: %s, %v", r, err)
	}
	_, err = c.Entry(t.Context(), 4)
	if p, ok := errors.AsType[*client.Problem](err); !ok || p.Status != 404 || p.Detail != "nothing here" {
		t.Errorf("Entry that is missing: %v", err)
	}
}
