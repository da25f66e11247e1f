package client_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/slogtest"
	"testing/synctest"
	"time"

	"github.com/stele-log/stele/pkg/client"
)

// record returns what a handler has sent of a record, as slogtest expects it.
func record(t *testing.T, sent string) map[string]any {
	t.Helper()
	var e struct {
		Time *time.Time
		Data map[string]any
	}
	if err := json.Unmarshal([]byte(sent), &e); err != nil {
		t.Fatal(err)
	}
	if e.Time != nil {
		e.Data[slog.TimeKey] = *e.Time
	}
	return e.Data
}

func TestHandlerKeepsTheRulesOfSlog(t *testing.T) {
	t.Parallel()
	s := &server{}
	var h *client.Handler
	slogtest.Run(t, func(t *testing.T) slog.Handler {
		h = client.NewHandler(client.HandlerConfig{Client: newClient(t, s, client.Config{})})
		return h
	}, func(t *testing.T) map[string]any {
		if err := h.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		return record(t, s.stored[len(s.stored)-1])
	})
}

func TestHandlerWritesEvents(t *testing.T) {
	t.Parallel()
	s := &server{}
	h := client.NewHandler(client.HandlerConfig{Client: newClient(t, s, client.Config{}), Source: "//shop", Level: slog.LevelDebug})
	log := slog.New(h)
	log.Debug("one")
	log.Info("two", "a", 1, "a", 2, "msg", "mine", slog.Group("g", "x", 1, "x", []any{map[string]int{"x": 1}}), "a_2", 3)
	log.With("b", 1).With("b", 2).Warn("three", "error", errors.New("bad"), "f", func() {})
	log.Log(t.Context(), slog.LevelError+1, "four \xff <&>")
	if err := h.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	want := []struct{ typ, data string }{
		{"log.debug", `{"level":"DEBUG","msg":"one"}`},
		{"log.info", `{"level":"INFO","msg":"two","a":1,"a_2":2,"msg_2":"mine","g":{"x":1,"x_2":[{"x":1}]},"a_2_2":3}`},
		{"log.warn", `{"level":"WARN","msg":"three","b":1,"b_2":2,"error":"bad","f":"!ERROR:json: unsupported type: func()"}`},
		{"log.error", `{"level":"ERROR+1","msg":"four \ufffd <&>"}`},
	}
	for i, w := range want {
		var e struct {
			ID, Source, Type string
			Data             json.RawMessage
		}
		if err := json.Unmarshal([]byte(s.stored[i]), &e); err != nil {
			t.Fatal(err)
		}
		if e.Type != w.typ || !bytes.Equal(e.Data, []byte(w.data)) || e.Source != "//shop" || e.ID == "" {
			t.Errorf("record %d is %s, want %s with\n%s", i, s.stored[i], w.typ, w.data)
		}
	}
	if h.Lost() != 0 || h.Enabled(t.Context(), slog.LevelDebug-1) {
		t.Errorf("%d lost, below debug enabled: %v", h.Lost(), h.Enabled(t.Context(), slog.LevelDebug-1))
	}
}

// errorList collects errors.
type errorList struct {
	mu   sync.Mutex
	errs []string
}

func (l *errorList) add(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.errs = append(l.errs, err.Error())
}

func (l *errorList) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Join(l.errs, "\n")
}

func TestHandlerKeepsRecordsWhileTheServerIsAway(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		back := time.Now().Add(10 * time.Minute)
		s := &server{fail: func(http.ResponseWriter, *http.Request, int) bool {
			if time.Now().Before(back) {
				drop()
			}
			return false
		}}
		var errs errorList
		h := client.NewHandler(client.HandlerConfig{Client: newClient(t, s, client.Config{}), OnError: errs.add})
		for i := range 2500 {
			slog.New(h).Info(fmt.Sprint(i))
		}
		if err := h.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		if len(s.stored) != 2500 || h.Lost() != 0 || !strings.Contains(errs.String(), "delayed") {
			t.Errorf("%d stored, %d lost, reported %.300s", len(s.stored), h.Lost(), errs.String())
		}
		for i, sent := range s.stored {
			if record(t, sent)["msg"] != fmt.Sprint(i) {
				t.Fatalf("record %d is %s", i, sent)
			}
		}
	})
}

func TestHandlerBlocksForALimitedTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &server{fail: func(http.ResponseWriter, *http.Request, int) bool { drop(); return true }}
		var errs errorList
		h := client.NewHandler(client.HandlerConfig{
			Client: newClient(t, s, client.Config{}), OnError: errs.add, Queue: 3, Wait: 3 * time.Second})
		log := slog.New(h)
		log.Info("on its way")
		synctest.Wait()
		log.Info("queued")
		log.Info("queued")
		start := time.Now()
		log.Info("too many")
		if took := time.Since(start); took != 3*time.Second {
			t.Errorf("logging blocked for %v, want 3 s", took)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		start = time.Now()
		log.InfoContext(ctx, "too many")
		if took := time.Since(start); took != time.Second {
			t.Errorf("logging blocked for %v, its context for 1 s", took)
		}
		if h.Lost() != 2 || !strings.Contains(errs.String(), "2 in total: the queue is full") {
			t.Errorf("%d lost, want 2; reported %s", h.Lost(), errs.String())
		}

		ctx, cancel = context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := h.Close(ctx); !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "3 records lost") {
			t.Errorf("Close: error %v", err)
		}
		if err := h.Handle(t.Context(), slog.Record{}); !errors.Is(err, client.ErrClosed) || h.Lost() != 6 {
			t.Errorf("Handle after Close: error %v, %d lost", err, h.Lost())
		}
		if err := h.Flush(t.Context()); !errors.Is(err, client.ErrClosed) {
			t.Errorf("Flush after Close: error %v", err)
		}
	})
}

func TestHandlerReportsWhatTheServerRefuses(t *testing.T) {
	t.Parallel()
	s := &server{fail: func(w http.ResponseWriter, _ *http.Request, n int) bool {
		if n == 1 {
			w.WriteHeader(401)
		}
		return n == 1
	}}
	var errs errorList
	h := client.NewHandler(client.HandlerConfig{Client: newClient(t, s, client.Config{}), OnError: errs.add})
	log := slog.New(h)
	log.Info("no token")
	if err := h.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	log.Info("large", "x", strings.Repeat("x", 70_000))
	log.Info("fine")
	if err := h.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if h.Lost() != 2 || len(s.stored) != 1 {
		t.Errorf("%d lost, %d stored, want 2 and 1", h.Lost(), len(s.stored))
	}
	for _, want := range []string{"401 Unauthorized", "too large"} {
		if !strings.Contains(errs.String(), want) {
			t.Errorf("reported %s, want %s", errs.String(), want)
		}
	}
}

// TestHandlerThatIsGarbageSendsItsRecords has a logger that goes out of scope, and was
// not closed.
func TestHandlerThatIsGarbageSendsItsRecords(t *testing.T) {
	t.Parallel()
	s := &server{}
	said := make(chan error, 1)
	func() {
		h := client.NewHandler(client.HandlerConfig{
			Client: newClient(t, s, client.Config{}), OnError: func(err error) { said <- err },
		})
		log := slog.New(h).With("a", 1)
		for range 100 {
			log.Info("hello")
		}
	}()
	for {
		runtime.GC()
		select {
		case err := <-said:
			if want := "log handler: dropped without Close; "; !strings.HasPrefix(err.Error(), want) {
				t.Errorf("reported is %q, want %q", err, want)
			}
			for s.count() < 100 {
				time.Sleep(time.Millisecond)
			}
			return
		case <-time.After(time.Millisecond):
		}
	}
}

func TestHandlerThatWasClosedIsNotReported(t *testing.T) {
	t.Parallel()
	freed := make(chan struct{})
	func() {
		h := client.NewHandler(client.HandlerConfig{
			Client: newClient(t, &server{}, client.Config{}), OnError: func(err error) { t.Error(err) },
		})
		runtime.AddCleanup(h, func(freed chan struct{}) { close(freed) }, freed)
		slog.New(h).Info("hello")
		if err := h.Close(t.Context()); err != nil {
			t.Error(err)
		}
	}()
	for {
		runtime.GC()
		select {
		case <-freed:
			return
		case <-time.After(time.Millisecond):
		}
	}
}
