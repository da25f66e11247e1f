package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/stele-log/stele/internal/engine"
	"github.com/stele-log/stele/internal/server"
	"github.com/stele-log/stele/storage"
)

// serveFlags are what serve and demo share.
type serveFlags struct {
	storeFlags
	witness      witnessFlags
	listen       server.ListenConfig
	interval     time.Duration
	originPrefix string
	cacheMiB     int
	migrateFirst bool
	logFormat    string
	logLevel     slog.Level
	now          func() time.Time // the clock of recordedtime; time.Now if nil
}

const (
	minInterval = 100 * time.Millisecond
	defaultLog  = "default"
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
accepted is committed and published. With --tls-cert and --tls-key it serves
HTTPS, over HTTP/2 and HTTP/1.1.

With a witness policy, checkpoints are published once the witnesses of its
quorum have cosigned them; receipts are made under no others. Events are
accepted meanwhile, and publication goes on by itself when witnesses come back.
A witness that knows another history of a log, or more of it, ends the signing
of that log: /readyz and the metrics say so until the server is started again.`,
		Example: `  stele serve
  stele serve --data /var/lib/stele --listen 0.0.0.0:8080 --origin-prefix logs.example.com
  stele serve --listen 0.0.0.0:443 --tls-cert /etc/stele/tls.crt --tls-key /etc/stele/tls.key
  stele serve --database postgres://stele@localhost/stele
  stele serve --witness-policy policy.txt`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			logger, err := f.logger(cmd.ErrOrStderr())
			if err != nil {
				return err
			}
			s, release, err := f.start(cmd.Context(), logger)
			if err != nil {
				return err
			}
			defer release()
			f.printReady(cmd.OutOrStdout(), s.URL())
			return s.Run(cmd.Context())
		},
	}
	f.register(cmd)
	return cmd
}

func (f *serveFlags) register(cmd *cobra.Command) {
	f.storeFlags.register(cmd)
	f.witness.register(cmd)
	flags := cmd.Flags()
	registerListen(flags, &f.listen, "127.0.0.1:8080")
	flags.DurationVar(&f.interval, "checkpoint-interval", time.Second, "least time between checkpoints nobody waits for, 100ms or more")
	flags.StringVar(&f.originPrefix, "origin-prefix", "", "origins of new logs begin with it; best the URL they are found at, without scheme (default: the engine's name and /logs)")
	flags.IntVar(&f.cacheMiB, "cache", 64, "MiB of tiles to keep in memory")
	flags.BoolVar(&f.migrateFirst, "migrate", true, "bring the database's schema up to date at the start")
	flags.StringVar(&f.logFormat, "log-format", "text", "text or json")
	flags.TextVar(&f.logLevel, "log-level", f.logLevel, "debug, info, warn or error")
}

// registerListen registers the flags that say where a server listens.
func registerListen(flags *pflag.FlagSet, l *server.ListenConfig, address string) {
	flags.StringVar(&l.Address, "listen", address, "address to listen on; port 0 takes a free one")
	flags.StringVar(&l.TLSCert, "tls-cert", "", "certificate chain in PEM to serve HTTPS with; read again when the file changes")
	flags.StringVar(&l.TLSKey, "tls-key", "", "private key of the certificate, in PEM")
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
func (f *serveFlags) printReady(w io.Writer, url string) {
	if f.logFormat == "json" {
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
		return nil, nil, fmt.Errorf("--checkpoint-interval is %v or more", minInterval)
	}
	witnesses, err := f.witness.load()
	if err != nil {
		return nil, nil, err
	}
	store, release, err := f.openStore(ctx, logger)
	if err != nil {
		return nil, nil, err
	}
	s, err = server.Start(ctx, server.Config{
		Store: store, Logger: logger, OriginPrefix: f.prefix(), FirstLog: defaultLog, Version: buildVersion(),
		Listen: f.listen,
		Engine: engine.Config{
			Dir: f.data, Interval: f.interval, Cache: f.cacheMiB << 20, Now: f.now,
			Witnesses: witnesses, WitnessPool: f.witness.pool(),
		},
	})
	if err != nil {
		release()
		return nil, nil, err
	}
	return s, release, nil
}

// openStore takes the data folder and opens the database, of which the schema is
// then up to date.
func (f *serveFlags) openStore(ctx context.Context, logger *slog.Logger) (store storage.Store, release func(), err error) {
	if err := f.makeDataDir(); err != nil {
		return nil, nil, err
	}
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
