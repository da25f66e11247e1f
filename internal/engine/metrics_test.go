package engine_test

import (
	"maps"
	"slices"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/stele-log/stele/internal/test/dbtest"
)

// gather returns the values of all metrics, by name and by log.
func gather(t *testing.T, c prometheus.Collector) map[string]map[string]float64 {
	t.Helper()
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(c)
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]map[string]float64{}
	for _, f := range families {
		values := map[string]float64{}
		for _, m := range f.GetMetric() {
			label := ""
			if n := len(m.GetLabel()); n > 0 {
				label = m.GetLabel()[n-1].GetValue()
			}
			values[label] = m.GetCounter().GetValue() + m.GetGauge().GetValue()
		}
		all[f.GetName()] = values
	}
	return all
}

func TestMetricsOfAllLogsAreCollected(t *testing.T) {
	t.Parallel()
	h := start(t, dbtest.SQLite(t)(), t.TempDir())
	if all := gather(t, h); len(all) != 1 || all["stele_guards_missing"][""] != 0 {
		t.Errorf("without logs there is %v", all)
	}
	one := h.create(t, "one")
	h.create(t, "two")
	appendTo(t, one, 0, 3)

	all := gather(t, h)
	delete(all, "stele_guards_missing")
	want := []string{
		"stele_follower_batches_total", "stele_follower_failures_total", "stele_follower_lag_entries", "stele_follower_rebuilds_total",
		"stele_log_broken", "stele_log_checkpoints_total", "stele_log_checkpoints_unmet_total", "stele_log_commit_age_seconds", "stele_log_commits_total",
		"stele_log_conflicts_total", "stele_log_cosignatures", "stele_log_duplicates_total", "stele_log_entries_total",
		"stele_log_leading", "stele_log_oldest_append_seconds", "stele_log_publication_lag_seconds", "stele_log_published_tree_size",
		"stele_log_queue_bytes", "stele_log_sequencing_failures_total", "stele_log_signing_refused", "stele_log_stored_bytes_total",
		"stele_log_tree_size", "stele_log_witnesses_missing",
	}
	if got := slices.Sorted(maps.Keys(all)); !slices.Equal(got, want) {
		t.Errorf("the metrics are %q, want %q", got, want)
	}
	for name, values := range all {
		if got := slices.Sorted(maps.Keys(values)); !slices.Equal(got, []string{"one", "two"}) {
			t.Errorf("%s is of the logs %q", name, got)
		}
	}
	if all["stele_log_entries_total"]["one"] != 3 || all["stele_log_published_tree_size"]["one"] != 3 || all["stele_log_entries_total"]["two"] != 0 {
		t.Errorf("of 3 entries in one log there are %v stored, %v published", all["stele_log_entries_total"], all["stele_log_published_tree_size"])
	}
	if all["stele_log_tree_size"]["one"] != 3 || all["stele_log_tree_size"]["two"] != 0 || all["stele_log_stored_bytes_total"]["one"] < 50 {
		t.Errorf("of 3 entries in one log the sizes are %v, the bytes %v", all["stele_log_tree_size"], all["stele_log_stored_bytes_total"])
	}
	// A pedantic registry refuses what a collector has not described.
	for _, c := range []prometheus.Collector{one.Sequencer, one.Publisher} {
		gather(t, c)
	}
}
