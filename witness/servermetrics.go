package witness

import (
	"context"
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// serverMetrics are the metrics of a [Server]: a histogram by status, and the state
// of each log.
type serverMetrics struct {
	registry *prometheus.Registry
	requests *prometheus.HistogramVec
}

func newServerMetrics(store Store, now func() time.Time) *serverMetrics {
	m := &serverMetrics{
		registry: prometheus.NewRegistry(),
		requests: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "stele_witness_add_checkpoint_seconds",
			Help:    "Time to answer an add-checkpoint request, by status.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10},
		}, []string{"code"}),
	}
	m.registry.MustRegister(m.requests, witnessedLogs{store, now},
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

func (m *serverMetrics) observe(status int, elapsed time.Duration) {
	m.requests.WithLabelValues(strconv.Itoa(status)).Observe(elapsed.Seconds())
}

func (m *serverMetrics) handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{})
}

// witnessedLogs reads the state of each log from the store when it is scraped.
type witnessedLogs struct {
	store Store
	now   func() time.Time
}

var _ prometheus.Collector = witnessedLogs{}

var (
	treeSizeDesc = prometheus.NewDesc("stele_witness_tree_size",
		"Size of the newest checkpoint signed for the log.", []string{"origin"}, nil)
	signedAgeDesc = prometheus.NewDesc("stele_witness_signed_age_seconds",
		"Time since a checkpoint of the log was last signed; missing if none was.", []string{"origin"}, nil)
	pausedDesc = prometheus.NewDesc("stele_witness_paused",
		"1 if nothing is signed for the log because the operator paused it.", []string{"origin"}, nil)
)

func (c witnessedLogs) Describe(ch chan<- *prometheus.Desc) {
	ch <- treeSizeDesc
	ch <- signedAgeDesc
	ch <- pausedDesc
}

func (c witnessedLogs) Collect(ch chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), storeTimeout)
	defer cancel()
	logs, err := c.store.Logs(ctx)
	if err != nil {
		ch <- prometheus.NewInvalidMetric(treeSizeDesc, err)
		return
	}
	gauge := func(desc *prometheus.Desc, value float64, l Log) {
		ch <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, value, l.Origin)
	}
	for _, l := range logs {
		gauge(treeSizeDesc, float64(l.Size), l)
		paused := 0.0
		if l.Paused {
			paused = 1
		}
		gauge(pausedDesc, paused, l)
		if !l.SignedAt.IsZero() {
			gauge(signedAgeDesc, c.now().Sub(l.SignedAt).Seconds(), l)
		}
	}
}
