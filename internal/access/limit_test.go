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
	if wait := c.Spend(app, 1000, 1<<20); wait != 0 {
		t.Errorf("a batch after nothing: %v", wait)
	}
	b.Now = start.Add(5 * time.Second)
	if wait := c.Spend(app, 1, 1); wait < 4*time.Second || wait > 6*time.Second {
		t.Errorf("an event five seconds after ten seconds' worth: %v", wait)
	}
	b.Now = start.Add(10 * time.Second)
	for i := range 110 {
		if wait := c.Spend(app, 1, 1); (wait == 0) != (i < 100) {
			t.Errorf("event %d of a second: %v", i, wait)
		}
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
	b.Now = start.Add(10 * time.Second)
	for range 3 { // what is refused costs nothing
		if wait := c.Spend(app, 1, 1); wait < 5*time.Second || wait > 7*time.Second {
			t.Errorf("a byte ten seconds after 16 seconds' worth: %v", wait)
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
