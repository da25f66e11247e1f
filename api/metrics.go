package api

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strconv"
	"time"

	"github.com/go-chi/chi/v5"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
)

// metrics are the metrics of requests and streams. Those of logs are kept where
// they are counted; the registry collects them from the engine.
type metrics struct {
	registry *prometheus.Registry
	requests *prometheus.HistogramVec
	inFlight prometheus.Gauge
	streams  prometheus.Gauge
	streamed *prometheus.CounterVec
}

func newMetrics(s *server) *metrics {
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
	claimed := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "stele_http_claimed_bytes",
		Help: fmt.Sprintf("Memory claimed by bodies, their events and long replies, of at most %d bytes; beyond that, requests are answered with 503.", maxMemory),
	}, func() float64 { return float64(s.memory.claimed.Load()) })
	m.registry.MustRegister(m.requests, m.inFlight, m.streams, m.streamed, claimed, s.Engine,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	m.registry.MustRegister(s.Collectors...)
	return m
}

// observe times requests by the route that answers them, of which there are few,
// not by path. Streams are counted apart: their duration is the client's choice
// and would drown the times of the others.
func (s *server) observe(next http.Handler) http.Handler {
	m := s.metrics
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		start := time.Now()
		m.inFlight.Inc()
		defer m.inFlight.Dec()
		ww := &statusWriter{ResponseWriter: w}
		next.ServeHTTP(ww, r)
		if errors.Is(r.Context().Err(), context.Canceled) && ww.status < 400 {
			ww.status = statusClientLeft
		}
		elapsed := time.Since(start)
		if s.Logger.Enabled(r.Context(), slog.LevelDebug) {
			s.Logger.Debug("request", "method", r.Method, "path", pathOf(r), "status", ww.status, "elapsed", elapsed, "from", r.RemoteAddr)
		}
		if ww.Header().Get("Content-Type") == linesType {
			m.streamed.WithLabelValues(strconv.Itoa(ww.status)).Inc()
			return
		}
		route := chi.RouteContext(r.Context()).RoutePattern()
		m.requests.WithLabelValues(methodLabel(r.Method), route, strconv.Itoa(ww.status)).Observe(elapsed.Seconds())
	})
}

// A statusWriter remembers the status of a reply, 0 while there is none. Informational
// statuses, such as 100 Continue, do not count.
type statusWriter struct {
	http.ResponseWriter
	status int
}

// Unwrap lets [http.ResponseController] reach the connection's deadlines, flushing
// and full duplex.
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

// statusClientLeft is the status of requests whose client did not wait for the
// reply. It appears in metrics only and is never sent; nginx uses it in the same
// way.
const statusClientLeft = 499

// noteClientLeft counts a request under statusClientLeft, in place of a reply.
func noteClientLeft(w http.ResponseWriter) {
	if w, ok := w.(*statusWriter); ok {
		w.status = statusClientLeft
	}
}

// methodLabel keeps the number of time series bounded when clients make methods up.
func methodLabel(method string) string {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete:
		return method
	}
	return "other"
}
