package auditor

import (
	"github.com/prometheus/client_golang/prometheus"
)

// metrics are the counters of an Auditor, by origin. Gauges are not stored: the
// logCollector computes them from the state of the logs. docs/contradiction.md
// lists them all.
type metrics struct {
	registry       *prometheus.Registry
	hashed         *prometheus.CounterVec
	failures       *prometheus.CounterVec
	contradictions *prometheus.CounterVec
	rollbacks      *prometheus.CounterVec
}

func newMetrics(a *Auditor) *metrics {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
	}
	m := &metrics{
		registry:       prometheus.NewRegistry(),
		hashed:         counter("stele_audit_entries_hashed_total", "Entries read and hashed.", "origin"),
		failures:       counter("stele_audit_failures_total", "Failed observations, by kind.", "origin", "kind"),
		contradictions: counter("stele_audit_contradictions_total", "Contradictions found, by kind.", "origin", "kind"),
		rollbacks:      counter("stele_audit_rollbacks_total", "Times that a source showed a smaller tree than before.", "origin"),
	}
	m.registry.MustRegister(m.hashed, m.failures, m.contradictions, m.rollbacks, logCollector{a})
	return m
}

// count counts a report under its kind. Failures of the webhook are counted beside
// those, with the kind "webhook".
func (m *metrics) count(r Report) {
	switch {
	case r.Contradiction():
		m.contradictions.WithLabelValues(r.Origin, r.Kind).Inc()
	case r.Kind == Rollback:
		m.rollbacks.WithLabelValues(r.Origin).Inc()
	default:
		m.failures.WithLabelValues(r.Origin, r.Kind).Inc()
	}
}

// A logCollector computes the gauges of each log when they are scraped.
type logCollector struct{ a *Auditor }

var _ prometheus.Collector = logCollector{}

var (
	sizeDesc    = desc("stele_audit_verified_size", "Entries of the newest verified head.")
	ageDesc     = desc("stele_audit_checkpoint_age_seconds", "Time since the newest verified head was first seen.")
	lagDesc     = desc("stele_audit_lag_entries", "Entries of the largest signed head seen that are not verified yet.")
	pendingDesc = desc("stele_audit_pending_heads", "Signed heads seen that are neither proven nor disproven.")
	filesDesc   = desc("stele_audit_contradiction_files", "Contradiction files kept.")
)

func desc(name, help string) *prometheus.Desc {
	return prometheus.NewDesc(name, help, []string{"origin"}, nil)
}

func (c logCollector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{sizeDesc, ageDesc, lagDesc, pendingDesc, filesDesc} {
		ch <- d
	}
}

func (c logCollector) Collect(ch chan<- prometheus.Metric) {
	for origin, l := range c.a.logs {
		gauge := func(d *prometheus.Desc, v float64) {
			ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, origin)
		}
		l.mu.Lock()
		verified, pending, files := l.state.verified, len(l.state.pending), len(l.state.contradictions)
		l.mu.Unlock()
		gauge(sizeDesc, float64(verified.head.Size))
		if verified.Note != nil {
			gauge(ageDesc, c.a.cfg.Now().Sub(verified.Time).Seconds())
		}
		gauge(lagDesc, float64(l.largest.Load()-verified.head.Size))
		gauge(pendingDesc, float64(pending))
		gauge(filesDesc, float64(files))
	}
}
