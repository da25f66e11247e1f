package leafindex

import (
	"github.com/prometheus/client_golang/prometheus"
)

var _ prometheus.Collector = (*Index)(nil)

var lag = prometheus.NewDesc("stele_log_leaf_index_lag",
	"Entries that the index of leaf hashes does not cover yet.", []string{"log"}, nil)

// Describe sends what is collected, of any index.
func (x *Index) Describe(ch chan<- *prometheus.Desc) { ch <- lag }

// Collect sends the index's lag under the log's name.
func (x *Index) Collect(ch chan<- prometheus.Metric) {
	ch <- prometheus.MustNewConstMetric(lag, prometheus.GaugeValue, float64(x.Lag()), x.log.Info().Name)
}
