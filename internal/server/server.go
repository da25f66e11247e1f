// Package server is a Stele server: the logs of a store, the API over them, and
// the listener, started and stopped in order.
//
//	store -> engine -> api -> listener
//
// Invariants:
//   - nothing is answered before each log is being written to, or is known not to
//     be;
//   - at the end requests come first: those in progress are answered, streams end
//     once each event read from them is answered, and only then do the logs end,
//     once every accepted event is committed and published. Each of these steps has
//     its time, 10 seconds in all, so that a database that does not answer does not
//     keep a server from ending. The store belongs to the caller, who closes it after
//     that.
package server

import (
	"context"
	"log/slog"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/stele-log/stele/api"
	"github.com/stele-log/stele/internal/access"
	"github.com/stele-log/stele/internal/buildinfo"
	"github.com/stele-log/stele/internal/engine"
	"github.com/stele-log/stele/internal/follow"
	"github.com/stele-log/stele/internal/follow/leafindex"
	"github.com/stele-log/stele/storage"
)

// Config configures a Server.
type Config struct {
	// Listener is where the server is reached. It is taken before the store is
	// opened: a server that cannot have its address leaves nothing behind.
	Listener *Listener

	// Admin, if it is not nil, is where health and metrics are served, too: whoever
	// takes all connections of the other does not keep an operator out. Metrics are
	// then served there only.
	Admin *Listener

	Engine engine.Config // its Store, Logger and URL are those of this Config, its Followers those of this package
	Store  storage.Store
	Logger *slog.Logger

	// OriginPrefix and a log's name make the origin of a log that is created
	// without one. If empty it is the host's name and "/logs", which is a guess.
	OriginPrefix string

	// NoAccessControl lets everybody do everything.
	NoAccessControl bool

	// FirstLog is the name of the log to create if the store has none.
	FirstLog string

	Build buildinfo.Info // shown by /healthz, its version, and /metrics
}

// A Server has logs that run and an address that it has bound.
type Server struct {
	engine   *engine.Engine
	listener *Listener
	handler  http.Handler
	admin    *Listener // nil if there is none apart
	private  http.Handler
	logger   *slog.Logger

	stopping  context.CancelFunc // makes long requests end
	stopFacts func()             // records what was refused and read last
	stopLogs  context.CancelFunc
}

// Start opens the logs in the store, creating the first if there is none, and runs
// them. Run must follow: it answers requests, and ends what Start has begun.
func Start(ctx context.Context, cfg Config) (*Server, error) {
	cfg.Logger = slog.New(newAbsenceHandler(cfg.Logger.Handler()))
	cfg.Engine.Store, cfg.Engine.Logger, cfg.Engine.URL = cfg.Store, cfg.Logger, cfg.Listener.PublicURL()
	if cfg.Engine.Now == nil {
		cfg.Engine.Now = time.Now
	}
	leaves := leafindex.New()
	cfg.Engine.Followers = []follow.Follower{leaves}
	e, err := engine.Open(ctx, cfg.Engine)
	if err != nil {
		return nil, err
	}
	guessed := cfg.OriginPrefix == ""
	if guessed {
		cfg.OriginPrefix = hostPrefix()
	}
	control := &controls{}
	if !cfg.NoAccessControl {
		if control, err = openControls(ctx, e, cfg); err != nil {
			return nil, err
		}
	}
	if !slices.ContainsFunc(e.Logs(), func(l *engine.Log) bool { return !access.IsOwn(l.Name) }) {
		l, err := e.Create(ctx, engine.NewLog{Name: cfg.FirstLog, Origin: cfg.OriginPrefix + "/" + cfg.FirstLog})
		if err != nil {
			return nil, err
		}
		cfg.Logger.Info("log created", "log", l.Name, "origin", l.Origin)
		if guessed {
			cfg.Logger.Warn("the new log's origin is made from this host's name, and is permanent: "+
				"to choose another, begin again with an empty folder and database, and with --origin-prefix", "log", l.Name, "origin", l.Origin)
		}
	}
	s := &Server{engine: e, listener: cfg.Listener, admin: cfg.Admin, logger: cfg.Logger}
	s.warnOfStrangers(cfg.NoAccessControl)
	s.startLogs(cfg, leaves, control)
	if control.Control != nil {
		// Another server of the log may be writing to it; then that one does both.
		if err := makeAdmin(ctx, control.Control, cfg); err != nil {
			cfg.Logger.Warn("there is no admin yet", "error", err)
		}
		if err := recordLogs(ctx, control.Control, e); err != nil {
			cfg.Logger.Warn("not all logs are in the configuration yet", "error", err)
		}
	}
	return s, nil
}

// hostPrefix returns an origin prefix for a server that was given none.
func hostPrefix() string {
	name, err := os.Hostname()
	if err != nil || name == "" {
		name = "localhost"
	}
	return name + "/logs"
}

// warnOfStrangers logs a warning if the server can be reached from other machines.
func (s *Server) warnOfStrangers(noAccessControl bool) {
	if s.listener.Loopback() {
		return
	}
	if noAccessControl {
		s.logger.Warn("this server can be reached from other machines, and everybody may do everything", "address", s.URL())
	}
	if !s.listener.TLS() {
		s.logger.Warn("this server can be reached from other machines without TLS, so keys can be read on the way: give it a certificate, "+
			"or put it behind a proxy that has one", "address", s.URL())
	}
}

// startLogs runs the logs, and returns once each is being written to or is known
// not to be.
func (s *Server) startLogs(cfg Config, leaves *leafindex.Index, control *controls) {
	stopping, stop := context.WithCancel(context.Background())
	s.stopping = stop
	collectors := []prometheus.Collector{cfg.Build.Metric(), s.listener, databaseCollector{cfg.Store}}
	if control.journal != nil {
		collectors = append(collectors, control.journal)
	}
	s.handler, s.private = api.New(api.Config{
		Engine: s.engine, Leaves: leaves, Store: cfg.Store, Logger: s.logger, Stopping: stopping,
		OriginPrefix: cfg.OriginPrefix, Version: cfg.Build.Version, Access: control.Control, Journal: control.journal, SignIn: control.tokens, Now: cfg.Engine.Now,
		TrustLocal: s.listener.Loopback(), AdminApart: s.admin != nil, Collectors: collectors,
	})
	host, _, _ := strings.Cut(cfg.OriginPrefix, "/")
	host, _, _ = strings.Cut(strings.ToLower(host), ":")
	if s.listener.Loopback() {
		s.handler = api.OnlyFor([]string{host}, s.handler)
	}
	if s.admin != nil && s.admin.Loopback() {
		s.private = api.OnlyFor([]string{host}, s.private)
	}
	logs, stopLogs := context.WithCancel(context.Background())
	s.stopLogs = stopLogs
	go limitMemory(logs)
	s.engine.Start(logs)
	s.stopFacts = func() {}
	if control.Control != nil {
		go control.Run(logs)
		s.stopFacts = started(control.journal.Run)
	}
}

// started runs a function until stop is called, which waits for its end.
func started(run func(context.Context)) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { run(ctx) })
	return func() {
		cancel()
		running.Wait()
	}
}

// URL returns the server's base URL.
func (s *Server) URL() string { return s.listener.URL() }

// Run answers requests until the context ends or the listener fails, and then
// ends in order: requests first, then the logs. Health and metrics are served until
// the end if they have a listener of their own.
func (s *Server) Run(ctx context.Context) error {
	defer s.runAdmin(context.WithoutCancel(ctx))()
	defer s.engine.Wait()
	defer s.stopLogs()
	defer s.stopFacts()
	return s.listener.Run(ctx, s.handler, func() {
		s.logger.Info("stopping: accepted events are committed and published first")
		s.stopping()
	})
}

// runAdmin serves health and metrics on a listener of their own, if there is one, until
// the function that it returns is called.
func (s *Server) runAdmin(ctx context.Context) (stop func()) {
	if s.admin == nil {
		return func() {}
	}
	s.logger.Info("health and metrics are served apart", "address", s.admin.URL())
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if err := s.admin.Run(ctx, s.private, func() {}); err != nil {
			s.logger.Error("health and metrics are not served any longer", "error", err)
		}
	}()
	return func() {
		cancel()
		<-ended
	}
}
