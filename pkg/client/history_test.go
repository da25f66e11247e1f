package client_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stele-log/stele/pkg/client"
	"github.com/stele-log/stele/pkg/tile"
)

// servePages serves a history of n checkpoints, up to limit a page, that
// change may alter.
func servePages(t *testing.T, n, limit int, change func(first int, page map[string]any)) *httptest.Server {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		first, err := strconv.Atoi(r.URL.Query().Get("first"))
		asked, err2 := strconv.Atoi(r.URL.Query().Get("limit"))
		if r.URL.Path != "/logs/a/checkpoints" || err != nil || err2 != nil {
			http.Error(w, "unexpected request", http.StatusTeapot)
			return
		}
		checkpoints := []map[string]any{}
		for i := first; i < min(n, first+limit, first+asked); i++ {
			checkpoints = append(checkpoints, map[string]any{"number": i, "note": fmt.Sprint("note ", i), "published": time.Unix(int64(i), 0)})
		}
		page := map[string]any{"checkpoints": checkpoints}
		if end := first + len(checkpoints); end < n {
			page["next"] = end
		}
		if change != nil {
			change(first, page)
		}
		_ = json.NewEncoder(w).Encode(page)
	}))
	t.Cleanup(server.Close)
	return server
}

// readHistory returns the number of checkpoints before the error, if any.
func readHistory(t *testing.T, server *httptest.Server) (n int, failed error) {
	t.Helper()
	return readHistoryFrom(t, server, 0)
}

func readHistoryFrom(t *testing.T, server *httptest.Server, from int) (n int, failed error) {
	t.Helper()
	for past, err := range client.History(t.Context(), server.Client(), server.URL+"/logs/a/", uint64(from)) {
		if failed != nil {
			t.Fatal("the history goes on after an error")
		}
		if failed = err; err != nil {
			continue
		}
		if past.Number != uint64(from+n) || string(past.Note) != fmt.Sprint("note ", from+n) || past.Published.Unix() != int64(from+n) {
			t.Fatalf("checkpoint %d is number %d, of %v: %q", from+n, past.Number, past.Published, past.Note)
		}
		n++
	}
	return n, failed
}

func TestHistoryIsReadPageByPage(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ n, limit int }{{0, 10}, {1, 10}, {9, 10}, {10, 10}, {11, 10}, {35, 10}, {2500, 5000}} {
		if n, err := readHistory(t, servePages(t, test.n, test.limit, nil)); err != nil || n != test.n {
			t.Errorf("%d checkpoints, %d a page: %d read, error %v", test.n, test.limit, n, err)
		}
	}
}

func TestHistoryFromANumber(t *testing.T) {
	t.Parallel()
	server := servePages(t, 35, 10, nil)
	for _, test := range []struct{ from, n int }{{1, 34}, {34, 1}, {35, 0}, {1000, 0}} {
		if n, err := readHistoryFrom(t, server, test.from); err != nil || n != test.n {
			t.Errorf("from %d: %d read, error %v; want %d", test.from, n, err, test.n)
		}
	}
}

// TestFirstPageIsSmall: whoever looks for a single checkpoint is not sent many.
func TestFirstPageIsSmall(t *testing.T) {
	t.Parallel()
	sent := 0
	server := servePages(t, 2500, 5000, func(_ int, page map[string]any) { sent += len(page["checkpoints"].([]map[string]any)) })
	for range client.History(t.Context(), server.Client(), server.URL+"/logs/a", 1200) {
		break
	}
	if sent != 1 {
		t.Errorf("%d checkpoints were sent for one", sent)
	}
}

// TestEmptyPageEndsTheHistory whatever it says of a next one.
func TestEmptyPageEndsTheHistory(t *testing.T) {
	t.Parallel()
	n, err := readHistory(t, servePages(t, 25, 10, func(first int, page map[string]any) {
		if first == 21 {
			page["checkpoints"], page["next"] = []map[string]any{}, 21
		}
	}))
	if err != nil || n != 21 {
		t.Errorf("%d read, error %v", n, err)
	}
}

func TestPageThatCannotBeReadIsNamed(t *testing.T) {
	t.Parallel()
	n, err := readHistory(t, servePages(t, 25, 10, func(first int, page map[string]any) {
		if first > 1 {
			page["checkpoints"] = "none"
		}
	}))
	if n != 11 || err == nil || !strings.Contains(err.Error(), "/logs/a/checkpoints?first=11") {
		t.Errorf("%d read, error %v", n, err)
	}
}

func TestHistoryThatIsNotServed(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		status, after int // the status of pages from number after on
		n             int
		fails         bool
	}{
		{http.StatusNotFound, 0, 0, false}, // any log in the tlog-tiles layout
		{http.StatusNotFound, 10, 11, true},
		{http.StatusInternalServerError, 0, 0, true},
		{http.StatusForbidden, 10, 11, true},
	} {
		whole := servePages(t, 25, 10, nil)
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if first, _ := strconv.Atoi(r.URL.Query().Get("first")); first >= test.after {
				w.WriteHeader(test.status)
				return
			}
			whole.Config.Handler.ServeHTTP(w, r)
		}))
		n, err := readHistory(t, server)
		if n != test.n || (err != nil) != test.fails || err != nil && !strings.Contains(err.Error(), strconv.Itoa(test.status)) {
			t.Errorf("status %d from %d on: %d read, error %v", test.status, test.after, n, err)
		}
		server.Close()
	}
}

// TestCancelledContextEndsTheHistory has a server that does not answer when it
// is asked for the history.
func TestCancelledContextEndsTheHistory(t *testing.T) {
	t.Parallel()
	l := newMemLog(t, 300)
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }))
	defer server.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err := client.Check(ctx, tile.FS(l), l.policy(t), client.CheckOptions{History: client.History(ctx, server.Client(), server.URL, 0)})
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error %v, want %q", err, context.DeadlineExceeded)
	}
}
