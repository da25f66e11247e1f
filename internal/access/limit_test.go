package access_test

import (
	"errors"
	"testing"
	"time"

	"github.com/stele-log/stele/internal/access"
)

func TestLimitIsOverTime(t *testing.T) {
	t.Parallel()
	b := newLog()
	c := open(t, b)
	app := access.Principal{Name: "app"}
	if wait := c.Spend(app, 1_000_000, 1<<30); wait != 0 {
		t.Errorf("without a limit: %v", wait)
	}
	if err := c.SetLimit(t.Context(), local, access.Limit{Principal: "app", Events: 100}); err != nil {
		t.Fatal(err)
	}
	if wait := c.Spend(app, 10_000, 1<<20); wait != 0 {
		t.Errorf("a batch after nothing: %v", wait)
	}
	if wait := c.Spend(app, 100, 1); wait < 900*time.Millisecond || wait > 1100*time.Millisecond {
		t.Errorf("100 events after it: %v, want a second", wait)
	}
	b.Now = start.Add(time.Second)
	if wait := c.Spend(app, 100, 1); wait != 0 {
		t.Errorf("100 events a second later: %v", wait)
	}
	if wait := c.Spend(access.Principal{Name: "other"}, 10_000, 1); wait != 0 {
		t.Errorf("another principal: %v", wait)
	}
	if wait := c.Spend(access.Principal{Local: true}, 1_000_000, 1); wait != 0 {
		t.Errorf("somebody local: %v", wait)
	}
	if err := c.RemoveLimit(t.Context(), local, "app"); err != nil {
		t.Fatal(err)
	}
	if wait := c.Spend(app, 1_000_000, 1); wait != 0 {
		t.Errorf("once the limit is gone: %v", wait)
	}
}

func TestBytesAreLimitedToo(t *testing.T) {
	t.Parallel()
	b := newLog()
	c := open(t, b)
	if err := c.SetLimit(t.Context(), local, access.Limit{Principal: "*", Bytes: 1 << 20}); err != nil {
		t.Fatal(err)
	}
	app := access.Principal{Name: "app"}
	if wait := c.Spend(app, 1, 16<<20); wait != 0 {
		t.Errorf("the largest body after nothing: %v", wait)
	}
	for range 3 { // what is refused costs nothing
		if wait := c.Spend(app, 1, 2<<20); wait < 1900*time.Millisecond || wait > 2100*time.Millisecond {
			t.Errorf("two seconds' worth after it: %v", wait)
		}
	}
	if wait := c.Spend(access.Principal{Name: "other"}, 1, 16<<20); wait != 0 {
		t.Errorf("another has a limit of its own: %v", wait)
	}
}

func TestRequestsAtATimeAreLimited(t *testing.T) {
	t.Parallel()
	c := open(t, newLog())
	if err := c.SetLimit(t.Context(), local, access.Limit{Principal: "app", Requests: 2}); err != nil {
		t.Fatal(err)
	}
	app := access.Principal{Name: "app"}
	first, ok := c.Enter(app)
	if _, second := c.Enter(app); !ok || !second {
		t.Fatal("two requests are too many")
	}
	if _, ok := c.Enter(app); ok {
		t.Error("a third is let in")
	}
	first()
	if _, ok := c.Enter(app); !ok {
		t.Error("one is refused after another has ended")
	}
}

func TestLimitsThatCannotBeAreRefused(t *testing.T) {
	t.Parallel()
	c := open(t, newLog())
	for name, l := range map[string]access.Limit{
		"of nobody": {Events: 1}, "of nothing": {Principal: "app"}, "negative": {Principal: "app", Events: -1}, "of a key": {Principal: "stele_x", Events: 1},
	} {
		if err := c.SetLimit(t.Context(), local, l); !errors.Is(err, access.ErrInvalid) {
			t.Errorf("a limit %s: %v", name, err)
		}
	}
	if err := c.RemoveLimit(t.Context(), local, "app"); !errors.Is(err, access.ErrNotFound) {
		t.Errorf("no limit: %v", err)
	}
}
