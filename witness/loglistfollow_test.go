package witness_test

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stele-log/stele/witness"
	"github.com/stele-log/stele/witness/witnessdb"
)

func TestReadLogListFromAFileOrAURL(t *testing.T) {
	t.Parallel()
	want := []witness.ListedLog{{VKey: "a.example+00000001+AQ==", Origin: "a.example", QPD: 5, Contact: "c"}}
	text := formatLogList(want)
	file := filepath.Join(t.TempDir(), "list")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/list":
			_, _ = w.Write([]byte(text))
		case "/endless":
			for r.Context().Err() == nil {
				if _, err := w.Write([]byte(strings.Repeat("#\n", 1<<20))); err != nil {
					return
				}
			}
		default:
			http.NotFound(w, r)
		}
	}))
	defer server.Close()
	for _, place := range []string{file, server.URL + "/list"} {
		if got, err := witness.ReadLogList(t.Context(), place); err != nil || !slices.Equal(got, want) {
			t.Errorf("%s: %+v, %v", place, got, err)
		}
	}
	for place, want := range map[string]string{
		server.URL + "/nothing": "404 Not Found",
		server.URL + "/endless": "more than 67108864 bytes",
		file + "x":              "no such file",
	} {
		if _, err := witness.ReadLogList(t.Context(), place); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v, want %q", place, err, want)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := witness.ReadLogList(ctx, server.URL+"/endless"); !errors.Is(err, context.Canceled) {
		t.Errorf("without time to read: error %v", err)
	}
}

// TestLogListIsReadAgain changes the list that a witness follows, after one that
// cannot be read.
func TestLogListIsReadAgain(t *testing.T) {
	onEachDatabase(t, func(t *testing.T, open func() *witnessdb.DB) {
		db := open()
		file := filepath.Join(t.TempDir(), "list")
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() {
			witness.LogListFollower{Store: db, Interval: time.Millisecond, Logger: slog.New(slog.DiscardHandler)}.Run(ctx, file)
			close(ended)
		}()
		var list []witness.ListedLog
		for _, name := range []string{"a.example", "b.example"} {
			list = append(list, witness.ListedLog{VKey: newSigningLog(t, name).vkeys[0], Origin: name, QPD: 9, Contact: "c"})
			if err := os.WriteFile(file, []byte(formatLogList(list)), 0o600); err != nil {
				t.Fatal(err)
			}
			for deadline := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
				logs, err := db.Logs(t.Context())
				if err != nil || time.Now().After(deadline) {
					t.Fatalf("after a minute the witness follows %+v, %v; want %d logs", logs, err, len(list))
				}
				if len(logs) == len(list) {
					break
				}
			}
		}
		cancel()
		<-ended
	})
}
