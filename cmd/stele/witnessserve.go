package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/stele-log/stele/internal/server"
	"github.com/stele-log/stele/witness"
	"github.com/stele-log/stele/witness/witnessdb"
)

const (
	maxLogList     = 64 << 20 // bytes
	logListTimeout = time.Minute
	logListRetry   = time.Minute
)

// witnessServeFlags say how to run a witness.
type witnessServeFlags struct {
	witnessPlace
	name        string
	listen      server.ListenConfig
	newDatabase bool
	logLists    []string
	listsEvery  time.Duration
	logFormat   string
	logLevel    slog.Level
}

func newWitnessServeCmd() *cobra.Command {
	var f witnessServeFlags
	cmd := &cobra.Command{
		Use:   "serve --name NAME",
		Short: "Run a witness",
		Long: `Serve runs a witness. On first start it makes its keys, Ed25519 and ML-DSA-44, in
the data folder; its name is part of them, and best a URL without scheme that
belongs to you.

It prints its verifier keys, one a line, and once it accepts requests one line
with its address, to standard output; with --log-format json that is one line in
all. Everything else goes to standard error. SIGINT or SIGTERM ends it after the
requests under way are answered.

Logs send checkpoints to /add-checkpoint. Anybody can ask for the newest one that
was cosigned, at /<hex SHA-256 of the origin>/checkpoint; /healthz and /metrics
are for the operator.`,
		Example: `  stele witness serve --name witness.example.com/w1 --listen 0.0.0.0:8081
  stele witness serve --name witness.example.com/w1 --database postgres://witness@localhost/witness
  stele witness serve --name witness.example.com/w1 --log-list https://testing.witness-network.org/log-list.1`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return f.run(cmd) },
	}
	f.register(cmd)
	flags := cmd.Flags()
	flags.StringVar(&f.name, "name", "", "the witness's name, in its keys and signatures, for ever")
	registerListen(flags, &f.listen, "127.0.0.1:8081")
	flags.StringArrayVar(&f.logLists, "log-list", nil, "URL or file of a log list to follow; can be given more than once")
	flags.DurationVar(&f.listsEvery, "log-list-interval", time.Hour, "how often to read the log lists")
	flags.BoolVar(&f.newDatabase, "new-database", false, "use a database that this witness, whose keys exist, has never used; only if the keys have never signed")
	flags.StringVar(&f.logFormat, "log-format", "text", "text or json")
	flags.TextVar(&f.logLevel, "log-level", slog.LevelInfo, "debug, info, warn or error")
	return cmd
}

// run runs a witness until the context ends.
func (f *witnessServeFlags) run(cmd *cobra.Command) (err error) {
	logger, err := (&serveFlags{logFormat: f.logFormat, logLevel: f.logLevel}).logger(cmd.ErrOrStderr())
	if err != nil {
		return err
	}
	if f.name == "" {
		return errors.New("--name is missing: give the witness a name, best a URL without scheme that belongs to you")
	}
	if f.listsEvery < time.Second {
		return errors.New("--log-list-interval is 1s or more")
	}
	if err := f.makeDataDir(); err != nil {
		return err
	}
	unlock, err := lockDir(f.data)
	if err != nil {
		return err
	}
	defer unlock()
	ctx, cancel := context.WithCancel(cmd.Context())
	defer cancel()
	return f.with(ctx, func(db *witnessdb.DB) error {
		ed25519, mldsa44, err := witnessKeyDir(f.data).claim(ctx, db, f.name, f.newDatabase)
		if err != nil {
			return err
		}
		s, err := witness.NewServer(witness.ServerConfig{
			Ed25519: ed25519, MLDSA44: mldsa44, Store: db, Logger: logger, Now: time.Now,
		})
		if err != nil {
			return err
		}
		var following sync.WaitGroup
		for _, list := range f.logLists {
			following.Go(func() { f.follow(ctx, db, list, logger) })
		}
		defer following.Wait()
		defer cancel()
		return f.serve(ctx, s, cmd.OutOrStdout(), logger)
	})
}

// serve answers requests until the context ends.
func (f *witnessServeFlags) serve(ctx context.Context, s *witness.Server, out io.Writer, logger *slog.Logger) error {
	f.listen.Logger = logger
	l, err := server.Listen(f.listen)
	if err != nil {
		return err
	}
	f.printReady(out, s, l.URL())
	return l.Run(ctx, s, func() { logger.Info("stopping: requests under way are answered first") })
}

// printReady says who the witness is, and where.
func (f *witnessServeFlags) printReady(w io.Writer, s *witness.Server, url string) {
	if f.logFormat == "json" {
		slog.New(slog.NewJSONHandler(w, nil)).Info("ready",
			"address", url, "name", f.name, "vkeys", s.VKeys(), "version", buildVersion())
		return
	}
	for _, vkey := range s.VKeys() {
		fmt.Fprintln(w, vkey)
	}
	fmt.Fprintf(w, "witness %s is ready at %s\n", f.name, url)
}

// follow adds the logs of a list, now and at each interval, until the context
// ends.
func (f *witnessServeFlags) follow(ctx context.Context, db *witnessdb.DB, list string, logger *slog.Logger) {
	for {
		wait := f.listsEvery
		added, skipped, err := addLogList(ctx, db, list)
		if len(added) > 0 {
			logger.Info("logs added from a list", "list", list, "logs", len(added), "skipped", len(skipped))
		}
		for _, reason := range skipped {
			logger.Debug("log skipped", "list", list, "reason", reason)
		}
		if err != nil && ctx.Err() == nil {
			logger.Warn("follow log list", "list", list, "error", err)
			wait = min(wait, logListRetry)
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
	}
}

// addLogList makes the witness follow the logs of the list at a URL or in a file.
func addLogList(ctx context.Context, db *witnessdb.DB, list string) (added []string, skipped []error, err error) {
	text, err := readLogList(ctx, list)
	if err != nil {
		return nil, nil, fmt.Errorf("read log list: %w", err)
	}
	logs, err := witness.ParseLogList(text)
	if err != nil {
		return nil, nil, err
	}
	return witness.AddLogList(ctx, db, logs)
}

func readLogList(ctx context.Context, list string) (string, error) {
	if !strings.HasPrefix(list, "https://") && !strings.HasPrefix(list, "http://") {
		text, err := os.ReadFile(list)
		return string(text), err
	}
	ctx, cancel := context.WithTimeout(ctx, logListTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, list, nil)
	if err != nil {
		return "", err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return "", fmt.Errorf("get %s: %s", list, resp.Status)
	}
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxLogList+1))
	if err == nil && len(text) > maxLogList {
		err = fmt.Errorf("get %s: more than %d bytes", list, maxLogList)
	}
	return string(text), err
}
