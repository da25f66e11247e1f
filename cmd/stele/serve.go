package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"runtime"
	"runtime/debug"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/stele-log/stele/api"
	"github.com/stele-log/stele/internal/engine"
	"github.com/stele-log/stele/internal/httpserver"
	"github.com/stele-log/stele/storage"
)

// serveFlags are what serve and demo share.
type serveFlags struct {
	storeFlags
	witness      witnessFlags
	listen       string
	interval     time.Duration
	originPrefix string
	cacheMiB     int
	migrateFirst bool
	logFormat    string
	logLevel     slog.Level
	now          func() time.Time // the clock of recordedtime; time.Now if nil
}

const (
	minInterval     = 100 * time.Millisecond
	shutdownTimeout = 15 * time.Second
	defaultLog      = "default"
)

func newServeCmd() *cobra.Command {
	var f serveFlags
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Run a server",
		Long: `Serve runs a server. Without flags it keeps everything in ./stele-data (SQLite,
keys), listens on 127.0.0.1:8080, and makes a log named default on first start.

Once it accepts requests it prints one line to standard output with its address;
all else goes to standard error. SIGINT or SIGTERM ends it after what was
accepted is committed and published.

With a witness policy, checkpoints are published once the witnesses of its
quorum have cosigned them; receipts are made under no others. Events are
accepted meanwhile, and publication goes on by itself when witnesses come back.
A witness that knows another history of a log, or more of it, ends the signing
of that log: /readyz and the metrics say so until the server is started again.`,
		Example: `  stele serve
  stele serve --data /var/lib/stele --listen 0.0.0.0:8080 --origin-prefix logs.example.com
  stele serve --database postgres://stele@localhost/stele
  stele serve --witness-policy policy.txt`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			logger, err := f.logger(cmd.ErrOrStderr())
			if err != nil {
				return err
			}
			defer runtime.KeepAlive(tuneGarbageCollection())
			s, err := startServer(cmd.Context(), f, logger)
			if err != nil {
				return err
			}
			f.printReady(cmd.OutOrStdout(), s)
			return s.wait(cmd.Context())
		},
	}
	f.register(cmd)
	return cmd
}

// tuneGarbageCollection has the heap grow by 50 MiB at least, and by 30% of what
// is in use, between collections. Most of what a large log keeps in memory are
// filters and tiles, which a collection passes over: to have the heap grow to
// twice of that would save little. GOGC in the environment says otherwise.
//
// The collector counts what is returned, which is never touched and so takes no
// memory, for as long as it is kept alive.
func tuneGarbageCollection() (ballast []byte) {
	if os.Getenv("GOGC") != "" {
		return nil
	}
	debug.SetGCPercent(30)
	return make([]byte, 168<<20)
}

func (f *serveFlags) register(cmd *cobra.Command) {
	f.storeFlags.register(cmd)
	f.witness.register(cmd)
	flags := cmd.Flags()
	flags.StringVar(&f.listen, "listen", "127.0.0.1:8080", "address to listen on; port 0 takes a free one")
	flags.DurationVar(&f.interval, "checkpoint-interval", time.Second, "least time between checkpoints nobody waits for, 100ms or more")
	flags.StringVar(&f.originPrefix, "origin-prefix", "", "origins of new logs begin with it; best the URL they are found at, without scheme (default: the engine's name and /logs)")
	flags.IntVar(&f.cacheMiB, "cache", 64, "MiB of tiles to keep in memory")
	flags.BoolVar(&f.migrateFirst, "migrate", true, "bring the database's schema up to date at the start")
	flags.StringVar(&f.logFormat, "log-format", "text", "text or json")
	flags.TextVar(&f.logLevel, "log-level", f.logLevel, "debug, info, warn or error")
}

func (f *serveFlags) logger(w io.Writer) (*slog.Logger, error) {
	o := &slog.HandlerOptions{Level: f.logLevel}
	switch f.logFormat {
	case "text":
		return slog.New(slog.NewTextHandler(w, o)), nil
	case "json":
		return slog.New(slog.NewJSONHandler(w, o)), nil
	}
	return nil, fmt.Errorf("--log-format is text or json, not %q", f.logFormat)
}

// printReady says where the server is, in one line.
func (f *serveFlags) printReady(w io.Writer, s *server) {
	if f.logFormat == "json" {
		slog.New(slog.NewJSONHandler(w, nil)).Info("ready", "address", s.url, "version", buildVersion())
		return
	}
	fmt.Fprintf(w, "stele is ready at %s\n", s.url)
}

// A server is one that accepts requests.
type server struct {
	url     string
	engine  *engine.Engine
	logger  *slog.Logger
	store   storage.Store
	http    *httpserver.Server
	failed  chan error // of the listener
	running sync.WaitGroup
	stop    context.CancelFunc // ends the engine
	unlock  func()
}

// startServer opens the store, runs its logs and listens.
func startServer(ctx context.Context, f serveFlags, logger *slog.Logger) (_ *server, err error) {
	if err := f.check(); err != nil {
		return nil, err
	}
	if f.interval < minInterval {
		return nil, fmt.Errorf("--checkpoint-interval is %v or more", minInterval)
	}
	s := &server{logger: logger, failed: make(chan error, 1), stop: func() {}}
	defer func() {
		if err != nil {
			s.close()
		}
	}()
	if err := f.makeDataDir(); err != nil {
		return nil, err
	}
	if s.unlock, err = lockDir(f.data); err != nil {
		return nil, err
	}
	if f.migrateFirst {
		from, to, err := f.migrate(ctx)
		if err != nil {
			return nil, err
		}
		if from != to {
			logger.Info("schema migrated", "from", from, "to", to)
		}
	}
	if s.store, err = f.open(ctx); err != nil {
		return nil, err
	}
	if s.engine, err = openEngine(ctx, f, s.store, logger); err != nil {
		return nil, err
	}
	return s, s.listen(f)
}

// openEngine opens the logs in the store, of which there is then one at least.
func openEngine(ctx context.Context, f serveFlags, store storage.Store, logger *slog.Logger) (*engine.Engine, error) {
	if f.now == nil {
		f.now = time.Now
	}
	witnesses, err := f.witness.load()
	if err != nil {
		return nil, err
	}
	h, err := engine.Open(ctx, engine.Config{
		Store: store, Dir: f.data, Interval: f.interval, Cache: f.cacheMiB << 20, Logger: logger, Now: f.now,
		Witnesses: witnesses,
	})
	if err != nil || len(h.Logs()) > 0 {
		return h, err
	}
	l, err := h.Create(ctx, engine.NewLog{Name: defaultLog, Origin: f.prefix() + "/" + defaultLog})
	if err != nil {
		return nil, err
	}
	logger.Info("log created", "log", l.Name, "origin", l.Origin)
	return h, nil
}

// prefix returns what the origins of new logs begin with.
func (f *serveFlags) prefix() string {
	if f.originPrefix != "" {
		return f.originPrefix
	}
	name, err := os.Hostname()
	if err != nil || name == "" {
		name = "localhost"
	}
	return name + "/logs"
}

// listen runs the engine and serves requests.
func (s *server) listen(f serveFlags) error {
	l, err := net.Listen("tcp", f.listen)
	if err != nil {
		return fmt.Errorf("%w; choose another address with --listen", err)
	}
	s.url = "http://" + l.Addr().String()
	if tcp, ok := l.Addr().(*net.TCPAddr); ok && !tcp.IP.IsLoopback() {
		s.logger.Warn("others can reach this server, and it asks nobody who they are: put it behind what does", "address", s.url)
	}
	s.http = httpserver.New(api.New(api.Config{
		Engine: s.engine, Store: s.store, Logger: s.logger, OriginPrefix: f.prefix(), Version: buildVersion(),
	}), s.logger)
	run, stop := context.WithCancel(context.Background())
	s.stop = stop
	s.engine.Start(run)
	s.running.Go(s.engine.Wait)
	go func() { s.failed <- s.http.Serve(l) }()
	return nil
}

// wait serves until the context ends, and then ends in order: requests first,
// then the logs, then the store.
func (s *server) wait(ctx context.Context) error {
	defer s.close()
	select {
	case err := <-s.failed:
		return err
	case <-ctx.Done():
	}
	s.logger.Info("stopping: what was accepted is committed and published first")
	stopping, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownTimeout)
	defer cancel()
	err := s.http.Shutdown(stopping)
	if errors.Is(err, context.DeadlineExceeded) {
		err = fmt.Errorf("some requests did not end within %v", shutdownTimeout)
	}
	return err
}

func (s *server) close() {
	s.stop()
	s.running.Wait()
	if s.http != nil {
		s.http.Close()
	}
	if s.store != nil {
		if err := s.store.Close(); err != nil {
			s.logger.Error("close database", "error", err)
		}
	}
	if s.unlock != nil {
		s.unlock()
	}
}
