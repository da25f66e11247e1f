package access_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stele-log/stele/internal/access"
	"github.com/stele-log/stele/internal/test/memsystem"
	"github.com/stele-log/stele/pkg/event"
)

func TestStateIsTheSameAfterARestart(t *testing.T) {
	t.Parallel()
	b := newLog()
	c := open(t, b)
	_, text := key(t, c, "admin", nil)
	grant(t, c, "admin", access.Admin, "*", "")
	id, gone := key(t, c, "a", nil)
	g := grant(t, c, "a", access.Reader, "default", `  type:"x"  `)
	if err := c.RevokeKey(t.Context(), local, id); err != nil {
		t.Fatal(err)
	}
	again := open(t, b)
	who(t, again, text)
	if _, err := again.Authenticate(t.Context(), gone); err == nil {
		t.Error("a revoked key is valid after a restart")
	}
	var before, after string
	c.View(func(s *access.State) { before = fmt.Sprint(s.Size(), s.Keys(), s.Grants()) })
	again.View(func(s *access.State) { after = fmt.Sprint(s.Size(), s.Keys(), s.Grants()) })
	if before != after || g.Filter != "type:x" {
		t.Errorf("before %s, after %s", before, after)
	}
}

func TestStateOfAnyMomentCanBeShown(t *testing.T) {
	t.Parallel()
	b := newLog()
	c := open(t, b)
	id, _ := key(t, c, "a", nil)
	g := grant(t, c, "a", access.Reader, "default", "")
	if err := c.RevokeKey(t.Context(), local, id); err != nil {
		t.Fatal(err)
	}
	if err := c.RemoveGrant(t.Context(), local, g.ID); err != nil {
		t.Fatal(err)
	}
	for size, want := range []struct{ keys, revoked, grants int }{{0, 0, 0}, {1, 0, 0}, {1, 0, 1}, {1, 1, 1}, {1, 1, 0}} {
		s, err := c.At(t.Context(), uint64(size))
		if err != nil {
			t.Fatal(err)
		}
		revoked := 0
		for _, k := range s.Keys() {
			if k.Revoked {
				revoked++
			}
		}
		if len(s.Keys()) != want.keys || revoked != want.revoked || len(s.Grants()) != want.grants || s.Size() != uint64(size) {
			t.Errorf("after %d entries: %v, %v", size, s.Keys(), s.Grants())
		}
	}
	if _, err := c.At(t.Context(), 5); !errors.Is(err, access.ErrNotFound) {
		t.Errorf("beyond the end: %v", err)
	}
}

func TestOtherServersFollow(t *testing.T) {
	t.Parallel()
	b := newLog()
	one, two := open(t, b), open(t, b)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	go two.Run(ctx)
	id, text := key(t, one, "a", nil)
	within(t, "a new key is not known", func() bool { _, err := two.Authenticate(t.Context(), text); return err == nil })
	if err := one.RevokeKey(t.Context(), local, id); err != nil {
		t.Fatal(err)
	}
	within(t, "a revoked key is valid", func() bool { _, err := two.Authenticate(t.Context(), text); return err != nil })
}

// within fails the test unless something holds soon.
func within(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for began := time.Now(); !holds(); time.Sleep(10 * time.Millisecond) {
		if time.Since(began) > 10*time.Second {
			t.Fatal(what)
		}
	}
}

func TestTheLaterOfTwoChangesIsRefused(t *testing.T) {
	t.Parallel()
	b := newLog()
	one, two := open(t, b), open(t, b)
	seen := uint64(0)
	change := access.Change{By: "ann", Seen: &seen}
	if _, err := one.AddGrant(t.Context(), change, access.Grant{Principal: "a", Role: access.Reader, Log: "default"}); err != nil {
		t.Fatal(err)
	}
	if _, err := two.AddGrant(t.Context(), change, access.Grant{Principal: "b", Role: access.Reader, Log: "default"}); !errors.Is(err, access.ErrStale) {
		t.Errorf("the later change: %v", err)
	}
	e, err := event.Decode(b.Entries[0])
	if err != nil || e.Sender != "ann" || len(b.Entries) != 1 {
		t.Errorf("%d entries, by %s, %v", len(b.Entries), e.Sender, err)
	}
}

func TestStateHoldsWhileTheLogCannotBeRead(t *testing.T) {
	t.Parallel()
	b := newLog()
	c := open(t, b)
	_, text := key(t, c, "a", nil)
	b.Err = errBroken
	if _, err := c.AddGrant(t.Context(), local, access.Grant{Principal: "a", Role: access.Reader, Log: "default"}); !errors.Is(err, errBroken) {
		t.Errorf("a change: %v", err)
	}
	who(t, c, text)
	b.Err = nil
	grant(t, c, "a", access.Reader, "default", "")
}

// TestWhatIsNotTheLogsIsNotTakenIn changes what is stored beside the servers.
func TestWhatIsNotTheLogsIsNotTakenIn(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(b *memsystem.Log){
		"an entry is added": func(b *memsystem.Log) { b.Entries = append(b.Entries, b.Entries[1]) },
		"an entry is changed": func(b *memsystem.Log) {
			b.Entries[1] = []byte(strings.Replace(string(b.Entries[1]), "reader", "writer", 1))
		},
		"an entry is lost": func(b *memsystem.Log) { b.Entries = b.Entries[:1] },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newLog()
			c := open(t, b)
			_, text := key(t, c, "a", nil)
			grant(t, c, "a", access.Reader, "default", "")
			change(b)
			_, atStart := access.Open(t.Context(), config(b))
			_, asOfThen := c.At(t.Context(), 2)
			for when, err := range map[string]error{"at the start": atStart, "as of then": asOfThen} {
				if err == nil || !strings.Contains(err.Error(), "changed in the database") {
					t.Errorf("%s: %v", when, err)
				}
			}
			if c.May(who(t, c, text), "default", access.Writer).Allowed {
				t.Error("a right was gained")
			}
		})
	}
}

func TestNoKeyIsValidInALogThatWasRolledBack(t *testing.T) {
	t.Parallel()
	b := newLog()
	c := open(t, b)
	id, revoked := key(t, c, "a", nil)
	_, other := key(t, c, "b", nil)
	if err := c.RevokeKey(t.Context(), local, id); err != nil {
		t.Fatal(err)
	}
	b.Entries = b.Entries[:2]
	b.Head = memsystem.HeadOf(b.Entries)
	cfg := config(b)
	cfg.Signed = func() (uint64, error) { return 3, nil }
	c, err := access.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{revoked, other} {
		if _, err := c.Authenticate(t.Context(), text); !errors.Is(err, access.ErrRolledBack) {
			t.Errorf("after a rollback: %v", err)
		}
	}
}

func TestEntryThatIsNotUnderstoodIsNotTakenIn(t *testing.T) {
	t.Parallel()
	b := newLog()
	c := open(t, b)
	_, text := key(t, c, "a", nil)
	e, err := event.Parse([]byte(`{"type":"stele.rule.added","data":{}}`), event.Sender{Name: "x"})
	if err == nil {
		err = b.Append(t.Context(), e)
	}
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if _, err := c.AddGrant(t.Context(), local, access.Grant{Principal: "a", Role: access.Reader, Log: "default"}); err == nil || !strings.Contains(err.Error(), "entry 1") ||
			!strings.Contains(err.Error(), "stele.rule.added") {
			t.Errorf("a change after it: %v", err)
		}
	}
	who(t, c, text)
}

// BenchmarkOpen measures the start with a million entries of the system log.
func BenchmarkOpen(b *testing.B) {
	log := newLog()
	for i := range 1_000_000 {
		text := fmt.Appendf(nil, `{"type":"stele.key.created","source":"stele","subject":"%010d","data":{"id":"%010d","principal":"p%d","sha256":"%064d"}}`, i, i, i%10_000, i)
		e, err := event.Parse(text, event.Sender{Name: "local", Authenticated: true})
		if err != nil {
			b.Fatal(err)
		}
		log.Entries = append(log.Entries, e.AppendEntry(nil, start))
	}
	log.Head = memsystem.HeadOf(log.Entries)
	for b.Loop() {
		open(b, log)
	}
	b.ReportMetric(float64(len(log.Entries))*float64(b.N)/b.Elapsed().Seconds(), "entries/s")
}
