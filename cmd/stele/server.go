package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/stele-log/stele/internal/engine"
	"github.com/stele-log/stele/internal/publisher"
	"github.com/stele-log/stele/internal/server"
	"github.com/stele-log/stele/pkg/policy"
	"github.com/stele-log/stele/storage"
	"github.com/stele-log/stele/witness"
)

// serveFlags are those of a server, for serve and demo.
type serveFlags struct {
	storeFlags
	logFlags
	witness      witnessFlags
	listen       server.ListenConfig
	adminListen  string
	interval     time.Duration
	originPrefix string
	cacheMiB     int
	maxLogs      int
	noAccess     bool
	migrateFirst bool
	now          func() time.Time // the clock of recordedtime; time.Now if nil
}

func (f *serveFlags) register(cmd *cobra.Command) {
	f.storeFlags.register(cmd)
	f.storeFlags.registerRole(cmd)
	f.logFlags.register(cmd)
	f.witness.register(cmd)
	flags := cmd.Flags()
	registerListen(flags, &f.listen, "127.0.0.1:8080")
	flags.StringVar(&f.listen.ClientCA, "tls-client-ca", "", "authorities, in PEM, whose certificates say who a client is; its principal is cert: and the certificate's URI or DNS name")
	flags.StringVar(&f.adminListen, "admin-listen", "", "address to serve /healthz, /readyz and /metrics at, over HTTP, whatever goes on at the other; /metrics is then served there only")
	flags.DurationVar(&f.interval, "checkpoint-interval", time.Second, "minimum interval between checkpoints, 100ms or more; a request that waits for a receipt is not delayed by it")
	flags.StringVar(&f.originPrefix, "origin-prefix", "", "what the origins of new logs begin with, such as the URL they are found at, without scheme (default: the host's name and /logs)")
	flags.IntVar(&f.cacheMiB, "cache", 64, "MiB of tiles to keep in memory")
	flags.IntVar(&f.maxLogs, "max-logs", 1000, "number of logs from which on no more are created")
	flags.BoolVar(&f.noAccess, "insecure-no-access-control", false, "let everybody who can reach the server do everything")
	flags.BoolVar(&f.migrateFirst, "migrate", true, "bring the database's schema up to date first")
}

// printReady prints the server's address, in one line.
func (f *serveFlags) printReady(w io.Writer, url string) {
	if f.format == "json" {
		slog.New(slog.NewJSONHandler(w, nil)).Info("ready", "address", url, "version", buildVersion())
		return
	}
	fmt.Fprintf(w, "stele is ready at %s\n", url)
}

// start opens the store and starts a server on it. The server is ended by its Run,
// and after that the store by release.
func (f *serveFlags) start(ctx context.Context, logger *slog.Logger) (s *server.Server, release func(), err error) {
	if err := f.check(); err != nil {
		return nil, nil, err
	}
	if f.interval < minInterval {
		return nil, nil, fmt.Errorf("--checkpoint-interval must be %v or more", minInterval)
	}
	witnesses, err := f.witness.load()
	if err != nil {
		return nil, nil, err
	}
	if f.cacheMiB < 1 {
		return nil, nil, fmt.Errorf("--cache must be 1 or more")
	}
	if f.maxLogs < 1 {
		return nil, nil, fmt.Errorf("--max-logs must be 1 or more")
	}
	listener, admin, err := f.bind(logger)
	if err != nil {
		return nil, nil, err
	}
	store, release, err := f.openStore(ctx, logger)
	if err != nil {
		return nil, nil, errors.Join(err, listener.Close(), admin.Close())
	}
	s, err = server.Start(ctx, server.Config{
		Store: store, Logger: logger, OriginPrefix: f.originPrefix, FirstLog: defaultLog, Build: thisBuild(),
		NoAccessControl: f.noAccess, Listener: listener, Admin: admin,
		Engine: engine.Config{
			Dir: f.data, Interval: f.interval, Cache: f.cacheMiB << 20, MaxLogs: f.maxLogs, Now: f.now,
			Witnesses: witnesses, WitnessPool: f.witness.pool(),
		},
	})
	if err != nil {
		release()
		return nil, nil, errors.Join(err, listener.Close(), admin.Close())
	}
	return s, release, nil
}

// bind takes the server's addresses. admin is nil if there is none.
func (f *serveFlags) bind(logger *slog.Logger) (listener, admin *server.Listener, err error) {
	f.listen.Logger = logger
	if listener, err = bind(f.listen, "listen"); err != nil || f.adminListen == "" {
		return listener, nil, err
	}
	if admin, err = bind(server.ListenConfig{Address: f.adminListen, Logger: logger}, "admin-listen"); err != nil {
		return nil, nil, errors.Join(err, listener.Close())
	}
	return listener, admin, nil
}

// openStore takes the data folder and opens the database, of which the schema is
// then up to date.
func (f *serveFlags) openStore(ctx context.Context, logger *slog.Logger) (store storage.Store, release func(), err error) {
	if err := f.makeDataDir(); err != nil {
		return nil, nil, err
	}
	warnOfOthers(logger, f.data, f.listen.TLSKey)
	unlock, err := lockDir(f.data)
	if err != nil {
		return nil, nil, err
	}
	if f.migrateFirst {
		err = f.migrateAndLog(ctx, logger)
	}
	if err == nil {
		store, err = f.open(ctx)
	}
	if err != nil {
		unlock()
		return nil, nil, err
	}
	return store, func() {
		if err := store.Close(); err != nil {
			logger.Error("close database", "error", err)
		}
		unlock()
	}, nil
}

func (f *serveFlags) migrateAndLog(ctx context.Context, logger *slog.Logger) error {
	from, to, err := f.migrate(ctx)
	if err == nil && from != to {
		logger.Info("schema migrated", "from", from, "to", to)
	}
	return err
}

// witnessFlags are who must cosign what a server publishes.
type witnessFlags struct {
	policy  string
	mode    string
	timeout time.Duration
}

const (
	modeQuorum = "quorum"
	modeOpen   = "open"
)

func (f *witnessFlags) register(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&f.policy, "witness-policy", "", "C2SP tlog-policy file: witnesses that must cosign what is published, with their URLs; <data>/logs/<name>/witness-policy.txt replaces it for one log")
	flags.StringVar(&f.mode, "witness-policy-mode", modeQuorum, "quorum: publish nothing that does not meet the policy; open: publish it anyway after the timeout, with a warning")
	flags.DurationVar(&f.timeout, "witness-timeout", 5*time.Second, "how long to wait for a witness, 100ms or more")
}

// load returns who must cosign, by the flags.
func (f *witnessFlags) load() (w publisher.Witnessing, err error) {
	if f.mode != modeQuorum && f.mode != modeOpen {
		return w, fmt.Errorf("--witness-policy-mode must be %s or %s, not %q", modeQuorum, modeOpen, f.mode)
	}
	if f.timeout < 100*time.Millisecond {
		return w, fmt.Errorf("--witness-timeout must be 100ms or more")
	}
	w.Open = f.mode == modeOpen
	if f.policy == "" {
		return w, nil
	}
	text, err := os.ReadFile(f.policy)
	if err != nil {
		return w, fmt.Errorf("--witness-policy: %w", err)
	}
	if w.Policy, err = policy.Parse(text); err != nil {
		return w, fmt.Errorf("--witness-policy: %s: %w", f.policy, err)
	}
	for _, of := range w.Policy.Witnesses() {
		if of.URL == "" {
			return w, fmt.Errorf("--witness-policy: %s: witness %q has no URL; write it after the key", f.policy, of.Name)
		}
	}
	return w, nil
}

// pool configures how witnesses are asked.
func (f *witnessFlags) pool() witness.PoolConfig { return witness.PoolConfig{Timeout: f.timeout} }
