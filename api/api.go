// Package api serves logs over HTTP: events in; entries, receipts, proofs, and
// the log itself in the tlog-tiles layout out. The paths, their parameters and
// their replies are described in openapi.yaml, which is served as /openapi.yaml
// and which the tests compare with each reply they get.
//
// A request walks through
//
//	observe   times it, by route and status, counts clients that leave, and logs it
//	          at debug
//	recover   turns a panic into a 500
//	secure    sets the headers that keep browsers from rendering entries; share those
//	          that let other sites' pages read what proves itself
//	identify  finds out who it comes from
//	route     chi; where the database is asked, maxTime bounds the request
//	withLog   finds the log that the path names, and whether the caller has the role
//	decode    parses path, query, headers and body, within bounds
//	ask       calls the log's sequencer, publisher, reader or leaf index
//	encode    writes headers and body; an error becomes a problem document
//
// The first four are middleware, in this file, browsers.go and access.go; routes are in
// this file, and withLog is in access.go.
// Decode, ask and encode make up a handler, and handlers are in a file for each
// resource: append.go (a request with events) and stream.go (a stream of them),
// entries.go (entries and receipts), configuration.go (keys and grants), tiles.go (checkpoint, tiles and bundles),
// checkpoints.go (their history), proofs.go, logs.go, health.go. They decode
// events with body.go, intake.go and lines.go, and encode with reply.go, results.go and
// problem.go.
//
// Invariants:
//   - an event that was answered with 201 or 200 is durable and integrated;
//   - tiles, bundles, proofs and receipts lie within the newest published
//     checkpoint, so nothing unsigned is served as if it were proven;
//   - errors are problem documents (RFC 9457) with a remedy; one table, in
//     problem.go, gives each error its status;
//   - bodies, headers and waiting are bounded, and so is the memory that all
//     requests take together, see memory.go.
//
// The handler is safe for concurrent use. It keeps no state of its own but metrics
// and what requests have claimed of the memory: all else belongs to the engine.
package api

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"time"

	"github.com/alexedwards/scs/v2"
	"github.com/go-chi/chi/v5"
	"github.com/go-chi/chi/v5/middleware"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/stele-log/stele/internal/access"
	"github.com/stele-log/stele/internal/access/openid"
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

	// Version is the server's version as /healthz and /readyz show it.
	Version string

	// Access decides who may do what; nil lets everybody do everything. TrustLocal lets
	// those do everything who do not say who they are: only people on the server's own
	// machine can reach it.
	Access     *access.Control
	TrustLocal bool

	// SignIn signs people in with the issuers of Access; nil without access control.
	SignIn *openid.Verifier

	// Journal notes what is refused and read; nil without access control.
	Journal *access.Journal

	// Now is the clock by which keys, grants and sessions end; time.Now if nil.
	Now func() time.Time

	// AdminApart is true if /metrics is served by the admin handler only.
	AdminApart bool

	// Collectors are collected for /metrics, beside what the API and the engine count.
	Collectors []prometheus.Collector

	// Stopping ends once the server has begun to stop: streams then end, and
	// waiting for receipts is cut short. If it is nil, that never happens.
	Stopping context.Context
}

const (
	// MaxBody is the size of the largest body with events, in bytes, streams
	// excepted. A larger one is answered with 413.
	MaxBody = 16 << 20

	// MaxEvents is the number of events in the largest request, streams excepted;
	// more are answered with 413. The reply may have a kilobyte for each, however
	// short the event is.
	MaxEvents = 10_000

	// MaxWait bounds how long a request waits for a receipt; a longer time in
	// Prefer is cut to it.
	MaxWait = 60 * time.Second

	// maxTime bounds a request, from when its body is read if that has events.
	// Streams have deadlines of their own.
	maxTime = MaxWait + 30*time.Second

	// maxBodyTime bounds how long a body with events may take to arrive.
	maxBodyTime = 5 * time.Minute

	// maxStall bounds how long the next bytes of a body may take, or, in a stream, the
	// rest of a line, and how long a client may read nothing of a long reply.
	maxStall = 30 * time.Second

	// maxReplyTime bounds how long a client may take to read a long reply.
	maxReplyTime = 3 * time.Minute

	// defaultWait is the wait for a receipt that is asked for without a time.
	defaultWait = 30 * time.Second

	// stopGrace is how long requests still wait for receipts once the server has
	// begun to stop: usually the next checkpoint is published within it.
	stopGrace = 3 * time.Second
)

// A server is what the handlers share. It is not changed after New.
type server struct {
	Config
	metrics  *metrics
	memory   *budget
	decoding chan struct{} // holds a token for each body that is being decoded

	routes     chi.Routes // of the public handler
	creating   sync.Mutex // held while a log is made, so that limits hold
	sessions   *scs.SessionManager
	sameOrigin *http.CrossOriginProtection
}

// New returns the handler of all paths, and one of those that an operator may want
// apart: /healthz, /readyz, which there names files and addresses, and /metrics. The
// engine need not run yet: until it does,
// writes are answered with 503.
func New(cfg Config) (public, admin http.Handler) {
	if cfg.Stopping == nil {
		cfg.Stopping = context.Background()
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	s := &server{Config: cfg, memory: new(budget), decoding: make(chan struct{}, runtime.GOMAXPROCS(0)),
		sessions: newSessions(), sameOrigin: http.NewCrossOriginProtection()}
	s.metrics = newMetrics(s)
	metrics := promhttp.HandlerFor(s.metrics.registry, promhttp.HandlerOpts{})

	private := s.router()
	private.Get("/healthz", s.healthz)
	private.With(inTime).Get("/readyz", s.readyz(error.Error))
	private.Method(http.MethodGet, "/metrics", metrics)

	r := s.router()
	s.routes = r
	r.Get("/healthz", s.healthz)
	r.Get("/openapi.yaml", s.openAPI)
	if !cfg.AdminApart {
		r.Get("/metrics", s.withRole(func(w http.ResponseWriter, r *http.Request) error {
			metrics.ServeHTTP(w, r)
			return nil
		}, access.Auditor, access.Admin))
	}
	r.Post("/logs/{log}/events", s.withEntries(s.appendEvents, access.Writer))

	timed := r.With(inTime)
	timed.Get("/readyz", s.readyz(publicText))
	timed.Get("/logs", s.listLogs)
	timed.Post("/logs", s.withRole(s.createLog, access.Admin))
	timed.Get("/logs/{log}", s.withLog(s.showLog))
	timed.Patch("/logs/{log}", s.withRole(s.changeLog, access.Admin))
	timed.Get("/whoami", s.withRole(s.showCaller))
	timed.Post("/session", s.withRole(s.startSession))
	timed.Delete("/session", s.withRole(s.endSession))
	timed.Get("/signin", s.withRole(s.showSignIn))
	timed.Get("/signin/{issuer}", s.withRole(s.goToIssuer))
	timed.Get("/signin/{issuer}/callback", s.withRole(s.comeBack))
	timed.Get("/keys", s.withRole(s.listKeys, access.Auditor, access.Admin))
	timed.Post("/keys", s.withRole(s.createKey, access.Admin))
	timed.Delete("/keys/{id}", s.withRole(s.revokeKey, access.Admin))
	timed.Post("/keys/{id}/rotate", s.withRole(s.rotateKey, access.Admin))
	timed.Get("/grants", s.withRole(s.listGrants, access.Auditor, access.Admin))
	timed.Post("/grants", s.withRole(s.addGrant, access.Admin))
	timed.Delete("/grants/{id}", s.withRole(s.removeGrant, access.Admin))
	timed.Get("/grants/explain", s.withRole(s.explainGrants, access.Auditor, access.Admin))
	timed.Get("/limits", s.withRole(s.listLimits, access.Auditor, access.Admin))
	timed.Put("/limits", s.withRole(s.setLimit, access.Admin))
	timed.Delete("/limits", s.withRole(s.removeLimit, access.Admin))
	timed.Get("/issuers", s.withRole(s.listIssuers, access.Auditor, access.Admin))
	timed.Post("/issuers", s.withRole(s.addIssuer, access.Admin))
	timed.Delete("/issuers/{name}", s.withRole(s.removeIssuer, access.Admin))
	timed.Get("/state", s.withRole(s.showState, access.Auditor, access.Admin))

	shared := timed.With(s.share)
	shared.Get("/logs/{log}/events/{index}", s.withEntries(s.getEvent, access.Reader, access.Auditor))
	shared.Get("/logs/{log}/events/{index}/receipt", s.withEntries(s.getReceipt, access.Reader, access.Auditor))
	shared.Get("/logs/{log}/checkpoint", s.withLog(s.getCheckpoint))
	shared.Get("/logs/{log}/checkpoints", s.withLog(s.listCheckpoints))
	shared.Get("/logs/{log}/tile/*", s.withLog(s.getTile)) // of entries, those who may read
	shared.Get("/logs/{log}/proofs/inclusion", s.withEntries(s.proveInclusion, access.Reader, access.Auditor))
	shared.Get("/logs/{log}/proofs/consistency", s.withLog(s.proveConsistency))
	return r, private
}

// router returns a router without paths, with the middleware of every request.
func (s *server) router() *chi.Mux {
	r := chi.NewRouter()
	r.Use(s.observe, s.recover, secure, middleware.GetHead, s.identify)
	r.NotFound(func(w http.ResponseWriter, r *http.Request) {
		s.fail(w, r, statusError{http.StatusNotFound, "there is nothing at this path; /openapi.yaml lists the paths that exist"})
	})
	r.MethodNotAllowed(s.methodNotAllowed(r))
	return r
}

// inTime ends a request's context after maxTime. The error that this causes is
// answered with 503, see problem.go.
func inTime(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), maxTime)
		defer cancel()
		next.ServeHTTP(w, r.WithContext(ctx))
	})
}

// methodNotAllowed answers a request whose path exists for other methods only.
// chi reports that there are some, but not which, so it is asked for each.
//
// SPEC: RFC 9110 section 15.5.6: the reply MUST have an Allow header that lists
// the methods.
func (s *server) methodNotAllowed(routes chi.Routes) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var allowed []string
		for _, method := range []string{http.MethodGet, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete} {
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

// recover answers a request whose handler panicked with 500. net/http would cut
// the connection instead. [http.ErrAbortHandler] asks for just that, and is
// passed on.
func (s *server) recover(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() {
			if v := recover(); v != nil && v != http.ErrAbortHandler {
				s.Logger.Error("handler panicked", "method", r.Method, "path", pathOf(r), "panic", v)
				s.fail(w, r, statusError{http.StatusInternalServerError, "internal error"})
			} else if v != nil {
				panic(v)
			}
		}()
		next.ServeHTTP(w, r)
	})
}
