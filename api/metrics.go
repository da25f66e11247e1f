package api

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/go-chi/chi/v5"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/stele-log/stele/internal/engine"
)

// metrics are those of requests and streams; the registry collects those of logs
// from the engine too.
type metrics struct {
	registry *prometheus.Registry
	requests *prometheus.HistogramVec
	inFlight prometheus.Gauge
	streams  prometheus.Gauge
	streamed *prometheus.CounterVec
}

func newMetrics(e *engine.Engine) *metrics {
	m := &metrics{
		registry: prometheus.NewRegistry(),
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
	m.registry.MustRegister(m.requests, m.inFlight, m.streams, m.streamed, e,
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
		m.requests.WithLabelValues(methodLabel(r.Method), route, strconv.Itoa(ww.status)).Observe(time.Since(start).Seconds())
	})
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
