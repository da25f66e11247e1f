// Package api serves logs over HTTP: events in; entries, receipts, proofs, and
// the log itself in the tlog-tiles layout out. The paths and what they take and
// give are in openapi.yaml, which the server serves as /openapi.yaml.
//
// What always holds:
//   - an event that was answered with 201 or 200 is durable and integrated;
//   - what is served as tile, bundle, proof or receipt lies within the newest
//     published checkpoint;
//   - errors are problem documents (RFC 9457) that say what to do; one table,
//     in problem.go, says which error is which status;
//   - bodies, headers and waiting are bounded.
package api

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/go-chi/chi/v5"
	"github.com/go-chi/chi/v5/middleware"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/stele-log/stele/internal/engine"
	"github.com/stele-log/stele/internal/follow/leafindex"
	"github.com/stele-log/stele/storage"
)

// Config configures the API.
type Config struct {
	Engine *engine.Engine
	Leaves *leafindex.Index // one of the engine's followers
	Store  storage.Store
	Logger *slog.Logger

	// OriginPrefix and the log's name make the origin of a log that is created
	// without one.
	OriginPrefix string

	// Version is what the server says of itself.
	Version string

	// Stopping is done once the server has begun to stop: streams then end, and
	// nobody waits long for receipts. If nil, that is never.
	Stopping context.Context
}

const (
	// MaxBody is the size of the largest request body, in bytes.
	MaxBody = 16 << 20

	// MaxEvents is the number of events in the largest request. Each may cost a
	// kilobyte to answer, however short it is.
	MaxEvents = 10_000

	// MaxWait is how long a request waits for a receipt at most.
	MaxWait = 60 * time.Second

	// maxTime is how long a request takes at most once its body is read; streams
	// have deadlines of their own.
	maxTime = MaxWait + 30*time.Second

	// maxBodyTime is how long a body with events takes at most.
	maxBodyTime = 5 * time.Minute

	// maxReplyTime is how long a client takes at most to read what was appended.
	maxReplyTime = 2 * time.Minute

	defaultWait = 30 * time.Second

	// stopGrace is how long requests still wait for receipts when the server has
	// begun to stop: the next checkpoint is mostly near.
	stopGrace = 3 * time.Second
)

type server struct {
	Config
	metrics *metrics
}

// New returns the handler of all paths.
func New(cfg Config) http.Handler {
	if cfg.Stopping == nil {
		cfg.Stopping = context.Background()
	}
	s := &server{Config: cfg, metrics: newMetrics(cfg.Engine)}
	r := chi.NewRouter()
	r.Use(s.metrics.observe, s.recover, secure, middleware.GetHead)
	r.NotFound(func(w http.ResponseWriter, r *http.Request) {
		s.fail(w, r, statusError{http.StatusNotFound, "there is nothing at this path; /openapi.yaml lists the paths that exist"})
	})
	r.MethodNotAllowed(s.methodNotAllowed(r))

	r.Get("/healthz", s.healthz)
	r.Method(http.MethodGet, "/metrics", promhttp.HandlerFor(s.metrics.registry, promhttp.HandlerOpts{}))
	r.Get("/openapi.yaml", s.openAPI)
	r.Post("/logs/{log}/events", s.withLog(s.appendEvents))

	timed := r.With(inTime)
	timed.Get("/readyz", s.readyz)
	timed.Get("/logs", s.listLogs)
	timed.Post("/logs", s.createLog)
	timed.Get("/logs/{log}", s.withLog(s.showLog))
	timed.Get("/logs/{log}/events/{index}", s.withLog(s.getEvent))
	timed.Get("/logs/{log}/events/{index}/receipt", s.withLog(s.getReceipt))
	timed.Get("/logs/{log}/checkpoint", s.withLog(s.getCheckpoint))
	timed.Get("/logs/{log}/checkpoints", s.withLog(s.listCheckpoints))
	timed.Get("/logs/{log}/tile/*", s.withLog(s.getTile))
	timed.Get("/logs/{log}/proofs/inclusion", s.withLog(s.proveInclusion))
	timed.Get("/logs/{log}/proofs/consistency", s.withLog(s.proveConsistency))
	return r
}

// inTime ends a request's context when it has taken too long.
func inTime(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), maxTime)
		defer cancel()
		next.ServeHTTP(w, r.WithContext(ctx))
	})
}

// methodNotAllowed answers a request to a path that takes other methods.
//
// SPEC: RFC 9110 section 15.5.6: the reply MUST say in Allow which.
func (s *server) methodNotAllowed(routes chi.Routes) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var allowed []string
		for _, method := range []string{http.MethodGet, http.MethodPost} {
			if !routes.Match(chi.NewRouteContext(), method, r.URL.Path) {
				continue
			}
			allowed = append(allowed, method)
			if method == http.MethodGet {
				allowed = append(allowed, http.MethodHead)
			}
		}
		w.Header().Set("Allow", strings.Join(allowed, ", "))
		s.fail(w, r, statusError{http.StatusMethodNotAllowed,
			fmt.Sprintf("this path does not allow %.20q, only %s", r.Method, strings.Join(allowed, " and "))})
	}
}

// A logHandler answers a request about one log, or returns why it does not.
type logHandler func(w http.ResponseWriter, r *http.Request, l *engine.Log) error

// withLog finds the log that the path names.
func (s *server) withLog(handle logHandler) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		l, err := s.Engine.Log(chi.URLParam(r, "log"))
		if err == nil && l.Broken != nil {
			err = brokenError{l.Broken}
		}
		if err == nil {
			err = handle(w, r, l)
		}
		if err != nil {
			s.fail(w, r, err)
		}
	}
}

// recover answers a request whose handler panicked.
func (s *server) recover(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() {
			if v := recover(); v != nil && v != http.ErrAbortHandler {
				s.Logger.Error("handler panicked", "method", r.Method, "path", r.URL.Path, "panic", v)
				s.fail(w, r, statusError{http.StatusInternalServerError, "internal error"})
			} else if v != nil {
				panic(v)
			}
		}()
		next.ServeHTTP(w, r)
	})
}

// secure stops browsers from rendering entries as HTML.
func secure(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Content-Type-Options", "nosniff")
		w.Header().Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
		next.ServeHTTP(w, r)
	})
}
