package api

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/go-chi/chi/v5"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/stele-log/stele/internal/engine"
)

// metrics are the server's, per request and per log.
type metrics struct {
	registry *prometheus.Registry
	requests *prometheus.HistogramVec
	inFlight prometheus.Gauge
	streams  prometheus.Gauge
	streamed *prometheus.CounterVec

	mu        sync.RWMutex
	observers map[series]prometheus.Observer // those of requests, which take longer to find than to use
}

// A series is what requests are counted by.
type series struct {
	method, route string
	status        int
}

func newMetrics(h *engine.Engine) *metrics {
	m := &metrics{
		registry:  prometheus.NewRegistry(),
		observers: map[series]prometheus.Observer{},
		requests: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "stele_http_request_seconds",
			Help:    "Time to answer a request, by route and status.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 30},
		}, []string{"method", "route", "code"}),
		inFlight: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "stele_http_requests_in_flight",
			Help: "Requests that are not answered yet.",
		}),
		streams: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "stele_http_streams",
			Help: "Streams of events that are open.",
		}),
		streamed: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "stele_http_streams_total",
			Help: "Streams of events that have ended, by status: 499 if the client left without ending its stream.",
		}, []string{"code"}),
	}
	m.registry.MustRegister(m.requests, m.inFlight, m.streams, m.streamed, logCollector{h}, witnessCollector{h},
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// observe times requests by the route that answers them.
func (m *metrics) observe(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		start := time.Now()
		m.inFlight.Inc()
		defer m.inFlight.Dec()
		ww := &statusWriter{ResponseWriter: w}
		next.ServeHTTP(ww, r)
		if errors.Is(r.Context().Err(), context.Canceled) {
			ww.status = statusClientLeft
		}
		if ww.Header().Get("Content-Type") == linesType {
			m.streamed.WithLabelValues(strconv.Itoa(ww.status)).Inc()
			return
		}
		route := chi.RouteContext(r.Context()).RoutePattern()
		m.observer(series{methodLabel(r.Method), route, ww.status}).Observe(time.Since(start).Seconds())
	})
}

func (m *metrics) observer(s series) prometheus.Observer {
	m.mu.RLock()
	o, ok := m.observers[s]
	m.mu.RUnlock()
	if ok {
		return o
	}
	o = m.requests.WithLabelValues(s.method, s.route, strconv.Itoa(s.status))
	m.mu.Lock()
	m.observers[s] = o
	m.mu.Unlock()
	return o
}

// A statusWriter keeps the status of a reply, 0 if there was none.
type statusWriter struct {
	http.ResponseWriter
	status int
}

// Unwrap is for [http.ResponseController].
func (w *statusWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w *statusWriter) WriteHeader(status int) {
	if w.status == 0 && status >= 200 {
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *statusWriter) Write(b []byte) (int, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	return w.ResponseWriter.Write(b)
}

// statusClientLeft is the status under which requests are counted whose client
// did not wait for the reply. It is never sent; proxies use it in the same way.
const statusClientLeft = 499

func noteClientLeft(w http.ResponseWriter) {
	if w, ok := w.(*statusWriter); ok {
		w.status = statusClientLeft
	}
}

// methodLabel keeps those who make methods up from making time series.
func methodLabel(method string) string {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodPost:
		return method
	}
	return "other"
}

// A logCollector reads each log's counters when it is asked.
type logCollector struct{ engine *engine.Engine }

// logMetrics says what is collected of a log that is not broken.
var logMetrics = []struct {
	desc  *prometheus.Desc
	typ   prometheus.ValueType
	value func(*engine.Log) float64
}{
	{desc("entries_total", "Entries stored since the start."), prometheus.CounterValue,
		func(l *engine.Log) float64 { return float64(l.Sequencer.Stats().Entries.Load()) }},
	{desc("commits_total", "Batches committed since the start."), prometheus.CounterValue,
		func(l *engine.Log) float64 { return float64(l.Sequencer.Stats().Commits.Load()) }},
	{desc("duplicates_total", "Events that were stored already."), prometheus.CounterValue,
		func(l *engine.Log) float64 { return float64(l.Sequencer.Stats().Duplicates.Load()) }},
	{desc("conflicts_total", "Events refused because an entry has their source and id and other content."),
		prometheus.CounterValue, func(l *engine.Log) float64 { return float64(l.Sequencer.Stats().Conflicts.Load()) }},
	{desc("sequencing_failures_total", "Times that sequencing stopped and began anew."), prometheus.CounterValue,
		func(l *engine.Log) float64 { return float64(l.Sequencer.Stats().Failures.Load()) }},
	{desc("queue_bytes", "Bytes of entries that wait to be stored."), prometheus.GaugeValue,
		func(l *engine.Log) float64 { return float64(l.Sequencer.QueuedBytes()) }},
	{desc("leading", "1 if this server writes to the log."), prometheus.GaugeValue,
		func(l *engine.Log) float64 { return oneIf(l.Sequencer.Leading()) }},
	{desc("checkpoints_total", "Checkpoints published since the start."), prometheus.CounterValue,
		func(l *engine.Log) float64 { return float64(l.Publisher.Count()) }},
	{desc("published_tree_size", "Size of the newest checkpoint's tree."), prometheus.GaugeValue, publishedTreeSize},
	{desc("signing_refused", "1 if nothing more is signed, because the log's history is not the one signed before, or one that a witness knows."),
		prometheus.GaugeValue, func(l *engine.Log) float64 { return oneIf(l.Publisher.Refusal() != nil) }},
	{desc("cosignatures", "Witnesses of the log's policy that have cosigned the newest checkpoint."),
		prometheus.GaugeValue, cosignatures},
	{desc("publication_lag_seconds", "For how long entries have been waiting for a checkpoint that meets the log's witness policy."),
		prometheus.GaugeValue, func(l *engine.Log) float64 { return l.Publisher.Lag().Seconds() }},
	{desc("checkpoints_unmet_total", "Checkpoints published since the start that do not meet the log's witness policy."),
		prometheus.CounterValue, func(l *engine.Log) float64 { return float64(l.Publisher.Unmet()) }},
	{desc("witnesses_missing", "1 if the newest head was not cosigned as the log's witness policy asks for."),
		prometheus.GaugeValue, func(l *engine.Log) float64 { return oneIf(l.Publisher.Stalled() != nil) }},
	{desc("leaf_index_lag", "Entries that the index of leaf hashes does not cover yet."), prometheus.GaugeValue,
		func(l *engine.Log) float64 { return float64(l.Leaves.Lag()) }},
}

var broken = desc("broken", "1 if the log cannot be opened.")

func desc(name, help string) *prometheus.Desc {
	return prometheus.NewDesc("stele_log_"+name, help, []string{"log"}, nil)
}

func oneIf(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

func publishedTreeSize(l *engine.Log) float64 {
	published, err := l.Publisher.Latest()
	if err != nil {
		return 0
	}
	return float64(published.Size)
}

func cosignatures(l *engine.Log) float64 {
	published, err := l.Publisher.Latest()
	if err != nil {
		return 0
	}
	return float64(published.Cosignatures)
}

func (c logCollector) Describe(ch chan<- *prometheus.Desc) {
	ch <- broken
	ch <- witnessSize
	for _, m := range logMetrics {
		ch <- m.desc
	}
}

func (c logCollector) Collect(ch chan<- prometheus.Metric) {
	for _, l := range c.engine.Logs() {
		ch <- prometheus.MustNewConstMetric(broken, prometheus.GaugeValue, oneIf(l.Broken != nil), l.Name)
		if l.Broken != nil {
			continue
		}
		for _, m := range logMetrics {
			ch <- prometheus.MustNewConstMetric(m.desc, m.typ, m.value(l), l.Name)
		}
		for _, w := range l.Publisher.Witnesses() {
			ch <- prometheus.MustNewConstMetric(witnessSize, prometheus.GaugeValue, float64(w.Size), l.Name, w.URL)
		}
	}
}
