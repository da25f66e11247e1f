package measure_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stele-log/stele/bench/measure"
)

// A scripted contender gives one figure after the other.
func scripted(name string, order *[]string, figures ...float64) measure.Contender {
	return measure.Contender{Name: name, Unit: "x/s", Open: func(context.Context) (measure.Turn, error) {
		n := 0
		return func(context.Context, time.Duration) (float64, error) {
			*order = append(*order, name)
			n++
			return figures[n-1], nil
		}, nil
	}}
}

func options(rounds int) measure.Options {
	return measure.Options{Rounds: rounds, Turn: time.Millisecond,
		Settle: func(context.Context) error { return nil }, Log: func(string, ...any) {}}
}

func TestRatiosAreThoseOfRounds(t *testing.T) {
	t.Parallel()
	var order []string
	closed := false
	r := measure.Run(t.Context(), measure.Group{
		Contenders: []measure.Contender{
			scripted("a", &order, 10, 200, 30), scripted("b", &order, 5, 50, 20), scripted("unused", &order),
		},
		Rows: []measure.Row{
			{Subject: "a", Baseline: "b", Bar: 2},
			{Subject: "a", Baseline: "b", Bar: 1.9, AtMost: true},
			{Subject: "b", Bar: 21},
		},
		Close: func() { closed = true },
	}, options(3))
	if want := []string{"a", "b", "b", "a", "a", "b"}; !slices.Equal(order, want) {
		t.Errorf("turns %v, want %v", order, want)
	}
	if got, want := r.Rows[0].Value, (measure.Range{Median: 2, Min: 1.5, Max: 4}); got != want {
		t.Errorf("ratio %v, want %v", got, want)
	}
	for i, want := range []bool{true, false, false} {
		if r.Rows[i].Met != want {
			t.Errorf("row %d is met: %v", i, !want)
		}
	}
	if !closed {
		t.Error("the group was not closed")
	}
}

func TestOthersGoOnWithoutWhoFails(t *testing.T) {
	t.Parallel()
	var order []string
	fails := measure.Contender{Name: "fails", Open: func(context.Context) (measure.Turn, error) {
		return func(context.Context, time.Duration) (float64, error) { return 0, errors.New("broken") }, nil
	}}
	skips := measure.Contender{Name: "skips", Open: func(context.Context) (measure.Turn, error) {
		return nil, fmt.Errorf("%w: no database", measure.ErrSkip)
	}}
	r := measure.Run(t.Context(), measure.Group{
		Contenders: []measure.Contender{fails, skips, scripted("a", &order, 1, 2)},
		Rows: []measure.Row{
			{Subject: "a", Bar: 1}, {Subject: "a", Baseline: "fails"}, {Subject: "skips", Baseline: "a"},
		},
		Close: func() {},
	}, options(2))
	if len(r.Rows) != 1 || len(r.Figures) != 1 || r.Rows[0].Value.Max != 2 {
		t.Errorf("rows %v, figures %v; want those of a alone", r.Rows, r.Figures)
	}
	if r.Failed["fails"] != "broken" || r.Skipped["skips"] == "" || len(r.Failed)+len(r.Skipped) != 2 {
		t.Errorf("failed %v, skipped %v", r.Failed, r.Skipped)
	}
}

func TestRateCountsUntilAllIsFinished(t *testing.T) {
	t.Parallel()
	rate, err := measure.Loop{
		Workers: 2,
		Work: func(context.Context, int) (int, error) {
			time.Sleep(time.Millisecond)
			return 1000, nil
		},
		Finish: func(context.Context) error {
			time.Sleep(100 * time.Millisecond)
			return nil
		},
	}.Rate(t.Context(), 20*time.Millisecond)
	if err != nil || rate <= 0 || rate > 2*20*1000/0.1 {
		t.Errorf("rate %v, %v", rate, err)
	}
}

func TestPacedCountsWaiting(t *testing.T) {
	t.Parallel()
	// One worker that takes 10 ms cannot do 200 a second: the last are late by
	// half of the time there is.
	late, err := measure.Loop{Workers: 1, Work: func(context.Context, int) (int, error) {
		time.Sleep(10 * time.Millisecond)
		return 1, nil
	}}.Paced(t.Context(), 200*time.Millisecond, 200, 0.99)
	if err != nil || late < 50_000 {
		t.Errorf("%v µs late, %v; want 100,000", late, err)
	}
}

func TestFormat(t *testing.T) {
	t.Parallel()
	for f, want := range map[float64]string{
		0: "0", 0.01234: "0.0123", 1.5: "1.50", 12.34: "12.3", 999: "999", 123456: "123,000", 1234567: "1,230,000",
	} {
		if got := measure.Format(f); got != want {
			t.Errorf("%v is printed as %s, want %s", f, got, want)
		}
	}
}

func TestQuantile(t *testing.T) {
	t.Parallel()
	values := []int64{5, 1, 4, 2, 3}
	for q, want := range map[float64]int64{0: 1, 0.5: 3, 0.99: 5, 1: 5} {
		if got := measure.Quantile(values, q); got != want {
			t.Errorf("quantile %v is %d, want %d", q, got, want)
		}
	}
}
