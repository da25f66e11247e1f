package submit_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stele-log/stele/internal/ingest"
	"github.com/stele-log/stele/internal/ingest/submit"
	"github.com/stele-log/stele/pkg/client"
)

// newClient returns a client of a server that stores events in order, answers an
// event of the type "no" with a problem, and breaks off before event number
// failAt, once the channels are closed.
func newClient(t *testing.T, failAt uint64, once ...<-chan struct{}) *client.Client {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := http.NewResponseController(w).EnableFullDuplex(); err != nil {
			t.Error(err)
		}
		w.Header().Set("Content-Type", "application/x-ndjson")
		answers := json.NewEncoder(w)
		stored := uint64(0)
		lines := bufio.NewScanner(r.Body)
		for lines.Scan() {
			var e struct{ Type string }
			if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
				t.Error(err)
			}
			if stored >= failAt {
				for _, closed := range once {
					<-closed
				}
				_ = http.NewResponseController(w).SetReadDeadline(time.Now()) // net/http would read on
				panic(http.ErrAbortHandler)
			}
			if e.Type == "no" {
				_ = answers.Encode(map[string]any{"problem": map[string]any{"status": 400, "detail": "refused"}})
			} else {
				_ = answers.Encode(map[string]any{"index": stored, "duplicate": e.Type == "again"})
				stored++
			}
			_ = http.NewResponseController(w).Flush()
		}
	}))
	t.Cleanup(server.Close)
	c, err := client.New(client.Config{URL: server.URL, RetryFor: -1})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func event(place, typ string) ingest.Input {
	return ingest.Input{Place: place, Event: fmt.Appendf(nil, `{"type":%q,"id":%q}`, typ, place)}
}

func TestEachInputIsReportedInOrder(t *testing.T) {
	t.Parallel()
	var inputs []ingest.Input
	for i := range 2500 {
		inputs = append(inputs, event(fmt.Sprint(i), "yes"))
	}
	inputs[7] = event("seven", "no")
	inputs[1500] = ingest.Input{Err: errors.New("1500 cannot be read")}
	inputs[2000] = event("2000", "again")
	var tally submit.Tally
	var refused []string
	at, next := 0, uint64(0)
	err := submit.All(t.Context(), newClient(t, 1<<30), slices.Values(inputs), func(in ingest.Input, r client.Result) {
		if in.Place != inputs[at].Place {
			t.Fatalf("number %d is %q, want %q", at, in.Place, inputs[at].Place)
		}
		at++
		tally.Add(r)
		if r.Err != nil {
			refused = append(refused, submit.Reason(in, r))
			return
		}
		if r.Index != next {
			t.Fatalf("%s has index %d, want %d", in.Place, r.Index, next)
		}
		next++
	})
	if err != nil {
		t.Fatal(err)
	}
	if want := (submit.Tally{Stored: 2497, Duplicates: 1, Refused: 2}); tally != want || tally.Total() != 2500 {
		t.Errorf("the tally is %+v, want %+v", tally, want)
	}
	if want := []string{"seven: refused", "1500 cannot be read"}; !slices.Equal(refused, want) {
		t.Errorf("refused are %q, want %q", refused, want)
	}
	if err := tally.Err(); err == nil || !strings.Contains(err.Error(), "2 of 2500 events refused") {
		t.Errorf("the tally's error is %v", err)
	}
}

// TestFailureReportsNothingThatMayBeMissing: only what was answered is reported. The
// server breaks off once some of it is, as a connection that is reset may take answers
// with it that have arrived.
func TestFailureReportsNothingThatMayBeMissing(t *testing.T) {
	t.Parallel()
	inputs := func(yield func(ingest.Input) bool) {
		for i := 0; yield(event(fmt.Sprint(i), "yes")); i++ {
		}
	}
	reported, begun := 0, make(chan struct{})
	err := submit.All(t.Context(), newClient(t, 2000, begun), inputs, func(ingest.Input, client.Result) {
		if reported++; reported == 1 {
			close(begun)
		}
	})
	if err == nil {
		t.Error("no error")
	}
	if reported == 0 || reported > 2000 {
		t.Errorf("%d events are reported, 2000 were answered", reported)
	}
}

func TestAllEndsWithItsContextWhileNothingComes(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	inputs := func(func(ingest.Input) bool) {
		cancel()
		<-t.Context().Done()
	}
	err := submit.All(ctx, newClient(t, 0), inputs, func(in ingest.Input, _ client.Result) { t.Errorf("reported %+v", in) })
	if !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want that of the context", err)
	}
}
