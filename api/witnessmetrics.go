package api

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/stele-log/stele/internal/engine"
)

// A witnessCollector reads, when it is asked, how each witness has answered, all
// logs together.
type witnessCollector struct{ engine *engine.Engine }

var (
	witnessRequests = prometheus.NewDesc("stele_witness_requests_total",
		"Requests to a witness, by how they ended.", []string{"witness", "outcome"}, nil)
	witnessLatency = prometheus.NewDesc("stele_witness_last_latency_seconds",
		"Time that the last request to a witness took.", []string{"witness"}, nil)
	witnessSize = prometheus.NewDesc("stele_log_witness_tree_size",
		"Size of the log's tree that a witness has on record, as far as is known.", []string{"log", "witness"}, nil)
)

func (c witnessCollector) Describe(ch chan<- *prometheus.Desc) {
	ch <- witnessRequests
	ch <- witnessLatency
}

func (c witnessCollector) Collect(ch chan<- prometheus.Metric) {
	for _, s := range c.engine.Witnesses() {
		for outcome, n := range s.Requests {
			ch <- prometheus.MustNewConstMetric(witnessRequests, prometheus.CounterValue, float64(n), s.URL, outcome.String())
		}
		ch <- prometheus.MustNewConstMetric(witnessLatency, prometheus.GaugeValue, s.Latency.Seconds(), s.URL)
	}
}
