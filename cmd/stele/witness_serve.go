package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/stele-log/stele/internal/server"
	"github.com/stele-log/stele/internal/witnesskeys"
	"github.com/stele-log/stele/witness"
	"github.com/stele-log/stele/witness/witnessdb"
)

// witnessServeFlags are how to run a witness.
type witnessServeFlags struct {
	witnessStoreFlags
	logFlags
	name        string
	listen      server.ListenConfig
	newDatabase bool
	logLists    []string
	listsEvery  time.Duration
}

func newWitnessServeCmd() *cobra.Command {
	var f witnessServeFlags
	cmd := &cobra.Command{
		Use:   "serve --name NAME",
		Short: "Run a witness",
		Long: `Serve runs a witness. When it first starts it makes its keys, Ed25519 and ML-DSA-44,
in the data folder. The witness's name is part of them; a URL without scheme that
belongs to you is best.

It prints to standard output its verifier keys, one a line, and, once it accepts
requests, one line with its address; with --log-format json all that is one line.
Everything else goes to standard error. SIGINT or SIGTERM ends it after the requests
in progress are answered.

Logs send checkpoints to /add-checkpoint. Anybody can get the newest checkpoint that
was cosigned, at /<hex SHA-256 of the origin>/checkpoint; /healthz and /metrics are
for the operator.`,
		Example: `  stele witness serve --name witness.example.com/w1 --listen 0.0.0.0:8081
  stele witness serve --name witness.example.com/w1 --database postgres://witness@localhost/witness
  stele witness serve --name witness.example.com/w1 --log-list https://testing.witness-network.org/log-list.1`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return f.run(cmd) },
	}
	f.witnessStoreFlags.register(cmd)
	f.logFlags.register(cmd)
	flags := cmd.Flags()
	flags.StringVar(&f.name, "name", "", "the witness's name, in its keys and signatures; it cannot be changed later")
	registerListen(flags, &f.listen, "127.0.0.1:8081")
	flags.StringArrayVar(&f.logLists, "log-list", nil, "URL or file of a log list to follow; can be given more than once")
	flags.DurationVar(&f.listsEvery, "log-list-interval", time.Hour, "how often to read the log lists")
	flags.BoolVar(&f.newDatabase, "new-database", false, "let a witness that has keys use a database it has never used; only if those keys have never signed anything")
	return cmd
}

// run runs a witness until the context ends.
func (f *witnessServeFlags) run(cmd *cobra.Command) (err error) {
	logger, err := f.logger(cmd.ErrOrStderr())
	if err != nil {
		return err
	}
	if f.name == "" {
		return errors.New("--name is missing: give the witness a name, such as a URL without scheme that belongs to you")
	}
	if f.listsEvery < time.Second {
		return errors.New("--log-list-interval must be 1s or more")
	}
	f.listen.Logger = logger
	l, err := bind(f.listen, "listen") // before anything is made that stays
	if err != nil {
		return err
	}
	defer l.Close()
	if err := f.makeDataDir(); err != nil {
		return err
	}
	warnOfOthers(logger, f.data, f.listen.TLSKey)
	unlock, err := lockDir(f.data)
	if err != nil {
		return err
	}
	defer unlock()
	ctx, cancel := context.WithCancel(cmd.Context())
	defer cancel()
	return f.with(ctx, func(db *witnessdb.DB) error {
		ed25519, mldsa44, err := witnesskeys.Folder(f.data).Claim(ctx, db, f.name, f.newDatabase)
		if err != nil {
			return err
		}
		s, err := witness.NewServer(witness.ServerConfig{
			Ed25519: ed25519, MLDSA44: mldsa44, Store: db, Logger: logger, Now: time.Now,
		})
		if err != nil {
			return err
		}
		lists := witness.LogListFollower{Store: db, Interval: f.listsEvery, Logger: logger}
		var following sync.WaitGroup
		for _, list := range f.logLists {
			following.Go(func() { lists.Run(ctx, list) })
		}
		defer following.Wait()
		defer cancel()
		f.printReady(cmd.OutOrStdout(), s, l.URL())
		return l.Run(ctx, s, func() { logger.Info("stopping: requests under way are answered first") })
	})
}

// printReady prints the witness's keys, name and address.
func (f *witnessServeFlags) printReady(w io.Writer, s *witness.Server, url string) {
	if f.format == "json" {
		slog.New(slog.NewJSONHandler(w, nil)).Info("ready",
			"address", url, "name", f.name, "vkeys", s.VKeys(), "version", buildVersion())
		return
	}
	for _, vkey := range s.VKeys() {
		fmt.Fprintln(w, vkey)
	}
	fmt.Fprintf(w, "witness %s is ready at %s\n", f.name, url)
}
