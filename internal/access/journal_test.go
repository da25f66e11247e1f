package access_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stele-log/stele/internal/access"
	"github.com/stele-log/stele/pkg/event"
)

// A facts is an access log in memory.
type facts struct {
	mu      sync.Mutex
	err     error
	entries [][]byte
	ids     map[string]bool
	again   int // events that were appended before
}

func (f *facts) append(_ context.Context, events []event.Event) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, e := range events {
		if f.ids[e.ID] {
			f.again++
			continue
		}
		f.ids[e.ID] = true
		f.entries = append(f.entries, e.AppendEntry(nil, time.Now()))
	}
	return f.err
}

// A recorded is what a test reads of an entry.
type recorded struct {
	Type string
	Data struct {
		Principal, Log, Reason string
		Count, Kinds           int
		First, Last            time.Time
		Entries                *struct{ First, Last uint64 }
	}
}

func (f *facts) read(t testing.TB) (all []recorded) {
	t.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, entry := range f.entries {
		var r recorded
		if err := json.Unmarshal(entry, &r); err != nil {
			t.Fatal(err)
		}
		all = append(all, r)
	}
	return all
}

func journal(f *facts) *access.Journal {
	f.ids = map[string]bool{}
	return access.NewJournal(f.append, slog.New(slog.DiscardHandler), time.Now)
}

// running returns a journal that runs, until stop is called, which waits for its end.
func running(t *testing.T, f *facts) (j *access.Journal, stop func()) {
	t.Helper()
	j = journal(f)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { j.Run(ctx); close(ended) }()
	return j, func() {
		cancel()
		<-ended
	}
}

func TestEqualFactsAreOneEntry(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var f facts
		j, stop := running(t, &f)
		for range 999 {
			j.Note(access.Fact{Kind: access.Refused, Principal: "a", Log: "default"})
		}
		j.Note(access.Fact{Kind: access.Refused, Principal: "b", Log: "default"})
		for _, index := range []uint64{7, 3, 9} {
			j.NoteRead(access.Fact{Kind: access.Read, Principal: "c", Log: "default"}, index, index, 100)
		}
		time.Sleep(3 * time.Second)
		j.Note(access.Fact{Kind: access.Refused, Principal: "d"})
		time.Sleep(3 * time.Second)
		all := f.read(t)
		if len(all) != 4 {
			t.Fatalf("%d entries: %+v", len(all), all)
		}
		sum := 0
		for _, r := range all {
			sum += r.Data.Count
			if r.Type == access.Read && (r.Data.Entries == nil || r.Data.Entries.First != 3 || r.Data.Entries.Last != 9 || r.Data.Count != 3) {
				t.Errorf("reads: %+v", r)
			}
		}
		if sum != 1004 || f.again != 0 {
			t.Errorf("%d facts, want 1004; %d were appended again", sum, f.again)
		}
		stop()
	})
}

func TestFactsOutliveALogThatIsAway(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := facts{err: errors.New("not now, or perhaps it was")}
		j, stop := running(t, &f)
		for i := range 5000 {
			j.Note(access.Fact{Kind: access.Refused, Principal: fmt.Sprintf("p%d", i)})
			if i%100 == 0 {
				time.Sleep(100 * time.Millisecond)
			}
		}
		f.mu.Lock()
		f.err = nil
		f.mu.Unlock()
		time.Sleep(3 * time.Second)
		stop()
		sum := 0
		for _, r := range f.read(t) {
			sum += r.Data.Count
		}
		if sum != 5000 {
			t.Errorf("%d facts, want 5000: none is lost and none is recorded twice", sum)
		}
		if n := len(f.read(t)); n > 3000 {
			t.Errorf("%d entries: they are not summed while they wait", n)
		}
	})
}

func TestUseOfAKeyIsRecordedOnceAnHourAndAtTheEnd(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var f facts
		j, stop := running(t, &f)
		for range 90 {
			j.Note(access.Fact{Kind: access.Used, Principal: "a", Key: "aaaaaaaaaa"})
			j.NoteRead(access.Fact{Kind: access.Read, Principal: "a", Log: access.AccessLog}, 1, 1, 1)
			time.Sleep(time.Minute)
		}
		if n := len(f.read(t)); n != 2 {
			t.Errorf("%d entries after 90 minutes, want one of each", n)
		}
		if got := j.LastUsed("aaaaaaaaaa"); time.Since(got) > 2*time.Minute {
			t.Errorf("last used %v", got)
		}
		stop()
		sum := 0
		for _, r := range f.read(t) {
			sum += r.Data.Count
		}
		if sum != 180 {
			t.Errorf("%d facts at the end, want 180", sum)
		}
	})
}

func TestEntriesOfTheJournalAreEvents(t *testing.T) {
	t.Parallel()
	var f facts
	j := journal(&f)
	j.Note(access.Fact{Kind: access.SignedIn, Principal: "corp:ann", Issuer: "corp", Address: "192.0.2.7"})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	j.Run(ctx)
	if len(f.entries) != 1 || !bytes.Contains(f.entries[0], []byte(`"recordedby":"local"`)) {
		t.Fatalf("%s", f.entries)
	}
	if e, err := event.Decode(f.entries[0]); err != nil || e.Subject != "corp:ann" || e.Source != "stele" {
		t.Errorf("%+v, %v", e, err)
	}
}

// TestStrangersHideNobody floods a journal with what strangers are refused.
func TestStrangersHideNobody(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var f facts
		j, stop := running(t, &f)
		for i := range 100_000 {
			j.Note(access.Fact{Kind: access.Refused, Address: fmt.Sprintf("192.0.2.%d", i)})
		}
		j.Note(access.Fact{Kind: access.Read, Principal: "ann", Log: "default"})
		time.Sleep(3 * time.Second)
		if all := f.read(t); len(all) != 1 || all[0].Data.Principal != "ann" {
			t.Errorf("after 3 s: %+v", all)
		}
		time.Sleep(time.Minute)
		stop()
		sum := 0
		for _, r := range f.read(t) {
			sum += r.Data.Count
		}
		if n := len(f.read(t)); sum != 100_001 || n > 110 {
			t.Errorf("%d facts in %d entries", sum, n)
		}
	})
}
