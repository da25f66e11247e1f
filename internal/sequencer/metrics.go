package sequencer

import (
	"github.com/prometheus/client_golang/prometheus"
)

var _ prometheus.Collector = (*Sequencer)(nil)

// metrics are computed from a sequencer whenever they are collected.
var metrics = []struct {
	desc  *prometheus.Desc
	typ   prometheus.ValueType
	value func(*Sequencer) float64
}{
	{desc("entries_total", "Entries stored since the start."),
		prometheus.CounterValue, func(s *Sequencer) float64 { return float64(s.stats.Entries.Load()) }},
	{desc("commits_total", "Batches committed since the start."),
		prometheus.CounterValue, func(s *Sequencer) float64 { return float64(s.stats.Commits.Load()) }},
	{desc("duplicates_total", "Events that were stored already."),
		prometheus.CounterValue, func(s *Sequencer) float64 { return float64(s.stats.Duplicates.Load()) }},
	{desc("conflicts_total", "Events refused because an entry has their source and id and other content."),
		prometheus.CounterValue, func(s *Sequencer) float64 { return float64(s.stats.Conflicts.Load()) }},
	{desc("sequencing_failures_total", "Restarts of the sequencer."),
		prometheus.CounterValue, func(s *Sequencer) float64 { return float64(s.stats.Failures.Load()) }},
	{desc("stored_bytes_total", "Bytes of compressed entries stored since the start."),
		prometheus.CounterValue, func(s *Sequencer) float64 { return float64(s.stats.Bytes.Load()) }},
	{desc("queue_bytes", "Bytes of entries that wait to be stored."),
		prometheus.GaugeValue, func(s *Sequencer) float64 { return float64(s.QueuedBytes()) }},
	{desc("commit_age_seconds", "For how long the commit under way has lasted, 0 if there is none."),
		prometheus.GaugeValue, func(s *Sequencer) float64 { return s.CommitAge().Seconds() }},
	{desc("oldest_append_seconds", "For how long the oldest event that is not answered has waited to be stored, 0 if there is none."),
		prometheus.GaugeValue, func(s *Sequencer) float64 { return s.queue.oldest().Seconds() }},
	{desc("leading", "1 if this server writes to the log."),
		prometheus.GaugeValue, func(s *Sequencer) float64 {
			if s.Leading() {
				return 1
			}
			return 0
		}},
}

func desc(name, help string) *prometheus.Desc {
	return prometheus.NewDesc("stele_log_"+name, help, []string{"log"}, nil)
}

// Describe sends what is collected, of any sequencer.
func (s *Sequencer) Describe(ch chan<- *prometheus.Desc) {
	for _, m := range metrics {
		ch <- m.desc
	}
}

// Collect sends the metrics under the log's name.
func (s *Sequencer) Collect(ch chan<- prometheus.Metric) {
	for _, m := range metrics {
		ch <- prometheus.MustNewConstMetric(m.desc, m.typ, m.value(s), s.cfg.Log.Info().Name)
	}
}
