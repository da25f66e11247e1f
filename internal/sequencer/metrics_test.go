package sequencer_test

import (
	"context"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/stele-log/stele/internal/test/dbtest"
	"github.com/stele-log/stele/storage"
)

// gauge returns the value of one of a collector's gauges.
func gauge(t *testing.T, c prometheus.Collector, name string) float64 {
	t.Helper()
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(c)
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == name {
			return f.GetMetric()[0].GetGauge().GetValue()
		}
	}
	t.Fatalf("there is no metric %s", name)
	return 0
}

func TestTheOldestAppendIsTheOneThatHasWaitedLongest(t *testing.T) {
	t.Parallel()
	flaky := &faulty{Log: create(t, dbtest.SQLite(t))}
	r := start(t, flaky)
	oldest := func() time.Duration {
		return time.Duration(gauge(t, r, "stele_log_oldest_append_seconds") * float64(time.Second))
	}
	if age := oldest(); age != 0 {
		t.Errorf("before any event, one has waited for %v", age)
	}
	asked, answer := make(chan bool, 10), make(chan bool)
	fault := func(ctx context.Context, l storage.Log, b storage.Batch) error {
		asked <- true
		<-answer
		return l.Commit(ctx, b)
	}
	flaky.fault.Store(&fault)
	began := time.Now()
	done := make(chan error, 2)
	appendOne := func(id int) {
		_, err := r.Append(t.Context(), evs(t, id, 1))
		done <- err
	}
	go appendOne(0)
	<-asked
	time.Sleep(50 * time.Millisecond)
	go appendOne(1)
	for r.QueuedBytes() == 0 {
		time.Sleep(time.Millisecond)
	}
	second := time.Now()
	if age := oldest(); age < 50*time.Millisecond || age > time.Since(began) {
		t.Errorf("the one that is being committed has waited for %v of %v", age, time.Since(began))
	}
	answer <- true
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	<-asked
	if age := oldest(); age > time.Since(second)+10*time.Millisecond {
		t.Errorf("the second one has waited for %v, longer than since it came", age)
	}
	close(answer)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	for age := oldest(); age != 0; age = oldest() {
		time.Sleep(time.Millisecond)
	}
}
