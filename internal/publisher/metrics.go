package publisher

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

var _ prometheus.Collector = (*Publisher)(nil)

// metrics are computed from a publisher whenever they are collected.
var metrics = []struct {
	desc  *prometheus.Desc
	typ   prometheus.ValueType
	value func(*Publisher) float64
}{
	{desc("checkpoints_total", "Checkpoints published since the start."),
		prometheus.CounterValue, func(p *Publisher) float64 { return float64(p.published.Load()) }},
	{desc("checkpoints_unmet_total", "Checkpoints published since the start that do not meet the log's witness policy."),
		prometheus.CounterValue, func(p *Publisher) float64 { return float64(p.unmet.Load()) }},
	{desc("tree_size", "Entries in the log, as far as this server knows: those that it or another has committed or published."),
		prometheus.GaugeValue, func(p *Publisher) float64 { return float64(p.treeSize()) }},
	{desc("published_tree_size", "Size of the newest checkpoint's tree."),
		prometheus.GaugeValue, ofLatest(func(c *Published) float64 { return float64(c.Size) })},
	{desc("cosignatures", "Witnesses of the log's policy that have cosigned the newest checkpoint."),
		prometheus.GaugeValue, ofLatest(func(c *Published) float64 { return float64(c.Cosignatures) })},
	{desc("publication_lag_seconds", "For how long entries have been waiting for a checkpoint that meets the log's witness policy."),
		prometheus.GaugeValue, func(p *Publisher) float64 { return p.lag().Seconds() }},
	{desc("signing_refused", "1 if nothing more is signed, because the log's history is not the one signed before, or one that a witness knows."),
		prometheus.GaugeValue, func(p *Publisher) float64 { return oneIf(p.Refusal() != nil) }},
	{desc("witnesses_missing", "1 if the newest head was not cosigned as the log's witness policy asks for."),
		prometheus.GaugeValue, func(p *Publisher) float64 { return oneIf(p.Stalled() != nil) }},
}

var (
	witnessSize = desc("witness_tree_size", "Size of the log's tree that a witness has on record, as far as is known.", "witness")

	witnessClaim = desc("witness_unproven_claim",
		"1 if the witness's last answer contradicts the log without proof, so that it counts as failed.", "witness")
)

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("stele_log_"+name, help, append([]string{"log"}, labels...), nil)
}

// ofLatest returns a value of the newest checkpoint, 0 while there is none.
func ofLatest(value func(*Published) float64) func(*Publisher) float64 {
	return func(p *Publisher) float64 {
		if last := p.latest.Load(); last != nil {
			return value(last)
		}
		return 0
	}
}

// treeSize returns the largest size that is known of the log.
func (p *Publisher) treeSize() uint64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return max(p.state.committed.Size, p.state.public.Size)
}

// lag returns for how long a committed head has been waiting for a checkpoint
// that meets the policy; 0 if none is.
func (p *Publisher) lag() time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.lagging.IsZero() {
		return 0
	}
	return time.Since(p.lagging)
}

func oneIf(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// Describe sends what is collected, of any publisher.
func (p *Publisher) Describe(ch chan<- *prometheus.Desc) {
	for _, m := range metrics {
		ch <- m.desc
	}
	ch <- witnessSize
	ch <- witnessClaim
}

// Collect sends the metrics under the log's name.
func (p *Publisher) Collect(ch chan<- prometheus.Metric) {
	name := p.cfg.Log.Info().Name
	for _, m := range metrics {
		ch <- prometheus.MustNewConstMetric(m.desc, m.typ, m.value(p), name)
	}
	if p.witnesses == nil {
		return
	}
	for _, w := range p.witnesses.Stats() {
		ch <- prometheus.MustNewConstMetric(witnessSize, prometheus.GaugeValue, float64(w.Size), name, w.URL)
		ch <- prometheus.MustNewConstMetric(witnessClaim, prometheus.GaugeValue, oneIf(w.Claim != nil), name, w.URL)
	}
}
