package engine

import (
	"github.com/prometheus/client_golang/prometheus"
)

var _ prometheus.Collector = (*Engine)(nil)

var (
	broken = prometheus.NewDesc("stele_log_broken", "1 if the log cannot be opened.", []string{"log"}, nil)

	guardsMissing = prometheus.NewDesc("stele_guards_missing",
		"Guards with which the database keeps logs insert-only that are missing or changed; the server's log names them.", nil, nil)
)

// Describe sends nothing, which makes the Engine an unchecked collector: the registry
// then accepts the metrics of logs that are created later.
func (e *Engine) Describe(chan<- *prometheus.Desc) {}

// Collect sends the metrics of all logs and of the witnesses that they share.
func (e *Engine) Collect(ch chan<- prometheus.Metric) {
	for _, l := range e.Logs() {
		if l.Broken != nil {
			ch <- prometheus.MustNewConstMetric(broken, prometheus.GaugeValue, 1, l.Name)
			continue
		}
		ch <- prometheus.MustNewConstMetric(broken, prometheus.GaugeValue, 0, l.Name)
		for _, c := range []prometheus.Collector{l.Sequencer, l.Publisher, l.followers} {
			c.Collect(ch)
		}
	}
	ch <- prometheus.MustNewConstMetric(guardsMissing, prometheus.GaugeValue, float64(len(e.GuardsMissing())))
	e.witnesses.Collect(ch)
}
