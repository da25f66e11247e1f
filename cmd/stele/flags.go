package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/stele-log/stele/internal/durable"
	"github.com/stele-log/stele/internal/logintoken"
	"github.com/stele-log/stele/internal/server"
	"github.com/stele-log/stele/pkg/client"
	"github.com/stele-log/stele/storage"
	"github.com/stele-log/stele/storage/postgres"
	"github.com/stele-log/stele/storage/sqlite"
	"github.com/stele-log/stele/witness/witnessdb"
)

const (
	defaultLog  = "default"
	minInterval = 100 * time.Millisecond
)

// newGroup returns a command that does nothing but hold others. Without one of
// them it shows its help; with another word it is not understood.
func newGroup(cmd *cobra.Command, cmds ...*cobra.Command) *cobra.Command {
	cmd.Use += " COMMAND"
	cmd.DisableFlagsInUseLine = true
	cmd.SuggestionsMinimumDistance = 2
	cmd.Args = func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return nil
		}
		err := fmt.Errorf("unknown command %q for %q", args[0], cmd.CommandPath())
		if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
			return fmt.Errorf("%w; did you mean %q?", err, cmd.CommandPath()+" "+near[0])
		}
		var names []string
		for _, c := range cmd.Commands() {
			if c.IsAvailableCommand() {
				names = append(names, c.Name())
			}
		}
		return fmt.Errorf("%w; the commands are %s", err, strings.Join(names, ", "))
	}
	cmd.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
	cmd.AddCommand(cmds...)
	return cmd
}

// indexArg accepts one argument, the index of an entry.
func indexArg(cmd *cobra.Command, args []string) error {
	if err := cobra.ExactArgs(1)(cmd, args); err != nil {
		return err
	}
	_, err := parseIndex(args[0])
	return err
}

func parseIndex(s string) (uint64, error) {
	index, err := strconv.ParseUint(s, 10, 63)
	if err != nil {
		return 0, fmt.Errorf("index %q is not a number from 0 on", s)
	}
	return index, nil
}

// fromEnv is the annotation of flags that the environment has set.
const fromEnv = "stele_from_env"

// isTyped reports whether a flag was given on the command line.
func isTyped(flags *pflag.FlagSet, name string) bool {
	_, env := flags.Lookup(name).Annotations[fromEnv]
	return flags.Changed(name) && !env
}

// openFile opens a file, or standard input if it is called "-".
func openFile(name string) (io.ReadCloser, error) {
	if name == "-" {
		return io.NopCloser(os.Stdin), nil
	}
	return os.Open(name)
}

// lockDir keeps two servers from using one data folder: they would sign with
// the same keys.
func lockDir(dir string) (unlock func(), err error) {
	unlock, err = durable.Lock(filepath.Join(dir, "lock"))
	if errors.Is(err, durable.ErrLocked) {
		return nil, fmt.Errorf("another server uses the data folder %s; stop it, or choose another with --data", dir)
	}
	if err != nil {
		return nil, fmt.Errorf("lock data folder: %w", err)
	}
	return unlock, nil
}

// warnOfOthers logs a warning for each key file, in a data folder or by itself, that
// other users can read, and for a data folder to which all can write.
func warnOfOthers(logger *slog.Logger, dir string, key string) {
	keys := []string{key}
	for _, pattern := range []string{"*.key", "logs/*/*.key"} {
		found, _ := fs.Glob(os.DirFS(dir), pattern) // the patterns are not malformed
		for _, name := range found {
			keys = append(keys, filepath.Join(dir, name))
		}
	}
	for _, key := range durable.KeysOpenToOthers(keys...) {
		logger.Warn("other users can read this key: take their permissions away with chmod 600", "file", key)
	}
	if durable.WritableByAll(dir) {
		logger.Warn("every user can write to the data folder, and so replace keys and records: take that away with chmod o-w", "folder", dir)
	}
}

// storeFlags are where a server keeps its data.
type storeFlags struct {
	data     string
	database string
	role     string
}

func (f *storeFlags) register(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.data, "data", "./stele-data", "folder for keys and, without --database, for the log itself")
	cmd.Flags().StringVar(&f.database, "database", "", "PostgreSQL to keep logs in, such as postgres://user@host/db (default: SQLite in the data folder)")
}

// registerRole registers the flag of commands that may create the schema.
func (f *storeFlags) registerRole(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.role, "role", "", "role that servers work as in a new PostgreSQL database, which is to be that database's own (default: stele_server_ and the database's name)")
}

// makeDataDir makes the data folder, which only its owner may read.
func (f *storeFlags) makeDataDir() error {
	if err := durable.MkdirAll(durable.System, f.data, 0o700); err != nil {
		return fmt.Errorf("make data folder: %w", err)
	}
	return nil
}

func (f *storeFlags) isPostgres() bool { return f.database != "" }

func (f *storeFlags) check() error {
	if f.isPostgres() && !strings.HasPrefix(f.database, "postgres://") && !strings.HasPrefix(f.database, "postgresql://") {
		return fmt.Errorf("--database is not a postgres:// URL; without it, logs are kept in SQLite in --data")
	}
	return nil
}

func (f *storeFlags) sqlitePath() string { return filepath.Join(f.data, "stele.db") }

// migrate brings the database's schema up to date.
func (f *storeFlags) migrate(ctx context.Context) (from, to int64, err error) {
	if f.isPostgres() {
		return postgres.Migrate(ctx, f.database, f.role)
	}
	return sqlite.Migrate(ctx, f.sqlitePath())
}

func (f *storeFlags) open(ctx context.Context) (storage.Store, error) {
	if f.isPostgres() {
		return opened(postgres.Open(ctx, f.database))
	}
	return opened(sqlite.Open(ctx, f.sqlitePath()))
}

// opened returns what a driver has opened. After an error that is nil: a driver's nil
// pointer in an interface would not be, and would be closed like a store.
func opened[S storage.Store](s S, err error) (storage.Store, error) {
	if err != nil {
		return nil, err
	}
	return s, nil
}

// witnessStoreFlags are where a witness keeps its data.
type witnessStoreFlags struct {
	storeFlags
}

func (f *witnessStoreFlags) register(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.data, "data", "./stele-witness", "folder for the witness's keys and, without --database, for what it has signed")
	cmd.Flags().StringVar(&f.database, "database", "", "PostgreSQL to keep what the witness has signed in, such as postgres://user@host/db (default: SQLite in the data folder)")
}

func (f *witnessStoreFlags) open(ctx context.Context) (*witnessdb.DB, error) {
	if err := f.check(); err != nil {
		return nil, err
	}
	if err := f.makeDataDir(); err != nil {
		return nil, err
	}
	if f.isPostgres() {
		return witnessdb.OpenPostgres(ctx, f.database)
	}
	return witnessdb.OpenSQLite(ctx, filepath.Join(f.data, "witness.db"))
}

// withExisting is with, for commands of a witness that was set up before: they make no
// database.
func (f *witnessStoreFlags) withExisting(ctx context.Context, do func(*witnessdb.DB) error) error {
	if path := filepath.Join(f.data, "witness.db"); !f.isPostgres() {
		if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("there is no witness in %s: give its data folder with --data, or its database with --database", f.data)
		}
	}
	return f.with(ctx, do)
}

// with calls do with the open database.
func (f *witnessStoreFlags) with(ctx context.Context, do func(*witnessdb.DB) error) error {
	db, err := f.open(ctx)
	if err != nil {
		return err
	}
	return errors.Join(do(db), db.Close())
}

// registerListen registers the flags of where a server listens.
func registerListen(flags *pflag.FlagSet, l *server.ListenConfig, address string) {
	flags.StringVar(&l.Address, "listen", address, "address to listen on; port 0 takes a free one")
	flags.StringVar(&l.TLSCert, "tls-cert", "", "certificate chain in PEM to serve HTTPS with; read again when the file changes")
	flags.StringVar(&l.TLSKey, "tls-key", "", "private key of the certificate, in PEM")
}

// bind takes the address of a listener, which a flag has given.
func bind(cfg server.ListenConfig, flag string) (*server.Listener, error) {
	l, err := server.Listen(cfg)
	if _, ok := errors.AsType[*net.OpError](err); ok {
		err = fmt.Errorf("%w; choose another address with --%s", err, flag)
	}
	return l, err
}

// logFlags are how a server logs.
type logFlags struct {
	format string
	level  slog.Level
}

func (f *logFlags) register(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.format, "log-format", "text", "text or json")
	cmd.Flags().TextVar(&f.level, "log-level", f.level, "debug, info, warn or error")
}

func (f *logFlags) logger(w io.Writer) (*slog.Logger, error) {
	o := &slog.HandlerOptions{Level: f.level, ReplaceAttr: withUnit}
	switch f.format {
	case "text":
		return slog.New(slog.NewTextHandler(w, o)), nil
	case "json":
		return slog.New(slog.NewJSONHandler(w, o)), nil
	}
	return nil, fmt.Errorf("--log-format must be text or json, not %q", f.format)
}

// withUnit has durations printed like "1.5s" in JSON too, where they would be
// nanoseconds.
func withUnit(_ []string, a slog.Attr) slog.Attr {
	if a.Value.Kind() == slog.KindDuration {
		a.Value = slog.StringValue(a.Value.Duration().String())
	}
	return a
}

// clientFlags are which server to talk to, and how to print its answers.
type clientFlags struct {
	url   string
	log   string
	token string
	json  bool
}

func (f *clientFlags) register(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&f.url, "url", "http://127.0.0.1:8080", "URL of the server")
	flags.StringVar(&f.token, "token", "", "bearer token; better set as STELE_TOKEN, since other users of the machine may see command lines")
	flags.BoolVar(&f.json, "json", false, "print JSON")
}

func (f *clientFlags) registerLog(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.log, "log", defaultLog, "name of the log")
}

// registerSettings registers the flags of a log's settings.
func registerSettings(flags *pflag.FlagSet, s *client.LogSettings) {
	flags.StringVar(&s.Public, "public", "", "what needs no role: nothing, proofs (checkpoints, hash tiles, consistency proofs and keys) or entries too (default: proofs)")
	flags.StringVar(&s.Reads, "reads", "", "whose reads of entries are recorded in the log access: none, people (who has signed in, and auditors) or all (default: people)")
}

// isLoopbackURL reports whether a URL is of a server on this machine.
func isLoopbackURL(text string) bool {
	u, err := url.Parse(text)
	if err != nil {
		return false
	}
	ip := net.ParseIP(u.Hostname())
	return u.Hostname() == "localhost" || ip != nil && ip.IsLoopback()
}

// client returns a client that gives up at once.
func (f *clientFlags) client() (*client.Client, error) {
	if f.token == "" {
		f.token = logintoken.Of(f.url)
	}
	return client.New(client.Config{URL: f.url, Log: f.log, Token: f.token, RetryFor: -1})
}

// connect returns a client that tries again for a while, with a line on stderr,
// after it has made sure that the server and the log are there.
func (f *clientFlags) connect(ctx context.Context, stderr io.Writer) (*client.Client, error) {
	c, err := f.client()
	if err != nil {
		return nil, err
	}
	if _, err := c.Info(ctx); err != nil {
		return nil, f.explain(err)
	}
	return client.New(client.Config{URL: f.url, Log: f.log, Token: f.token,
		Retrying: func(err error, wait time.Duration) {
			fmt.Fprintf(stderr, "%v; trying again in %v\n", err, wait.Round(time.Millisecond))
		},
	})
}

// explain adds to an error of a client what can be done about it.
func (f *clientFlags) explain(err error) error {
	p, answered := errors.AsType[*client.Problem](err)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, context.Canceled):
		return errors.New("interrupted")
	case errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Errorf("%w\nIs the server running? Start it with \"stele serve\", or give its URL with --url", err)
	case !answered:
		return err
	case p.Status == http.StatusUnauthorized || p.Status == http.StatusForbidden:
		return fmt.Errorf("%w\nGive a token that may do this, as STELE_TOKEN or with --token", err)
	}
	return err
}

// adminFlags are clientFlags of commands for admins, who on the server's own machine need
// no token: the first key is in the data folder.
type adminFlags struct {
	clientFlags
	data    string
	keyFile string // that the token is from, if it is the first key's
}

// explain is that of clientFlags, and names the file of a key that the server does not take.
func (f *adminFlags) explain(err error) error {
	p, ok := errors.AsType[*client.Problem](err)
	if ok && p.Status == http.StatusUnauthorized && f.keyFile != "" {
		return fmt.Errorf("%w\nThe key is that in %s; if it was rotated or revoked, give another as STELE_TOKEN or with --token", err, f.keyFile)
	}
	return f.clientFlags.explain(err)
}

func (f *adminFlags) register(cmd *cobra.Command) {
	f.clientFlags.register(cmd)
	cmd.Flags().StringVar(&f.data, "data", "./stele-data", "data folder of a server on this machine, with admin.key: used where no token is given and --url is this machine's")
}

// admin returns a client with the token, or else with the key in the data folder.
func (f *adminFlags) admin() (*client.Client, error) {
	if f.token != "" || !isLoopbackURL(f.url) || logintoken.Of(f.url) != "" {
		return f.client()
	}
	path := filepath.Join(f.data, "admin.key")
	text, err := os.ReadFile(path)
	if err == nil && len(durable.KeysOpenToOthers(path)) == 0 {
		f.token, f.keyFile = strings.TrimSpace(string(text)), path
	}
	return f.client()
}

// change has the server change something, and prints what was changed: as JSON, or in a
// line.
func (f *adminFlags) change(cmd *cobra.Command, made any, line string, change func(*client.Client) error) error {
	c, err := f.admin()
	if err != nil {
		return err
	}
	if err := change(c); err != nil {
		return f.explain(err)
	}
	if f.json {
		return printJSON(cmd.OutOrStdout(), made)
	}
	_, err = fmt.Fprintln(cmd.OutOrStdout(), line)
	return err
}

// list prints what a server has of something, as JSON under a name, or as a table.
func list[T any](cmd *cobra.Command, f *adminFlags, name string, ask func(*client.Client) ([]T, error), table func(io.Writer, []T) error) error {
	c, err := f.admin()
	if err != nil {
		return err
	}
	all, err := ask(c)
	if err != nil {
		return f.explain(err)
	}
	if f.json {
		return printJSON(cmd.OutOrStdout(), map[string][]T{name: all})
	}
	return table(cmd.OutOrStdout(), all)
}

// parseUntil reads a date, a time, or a time from now; the zero time if the text is empty.
func parseUntil(text string) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	if days, ok := strings.CutSuffix(text, "d"); ok {
		text = days + "h"
		d, err := time.ParseDuration(text)
		if err == nil && d > 0 {
			return time.Now().Add(24 * d), nil
		}
	}
	if d, err := time.ParseDuration(text); err == nil && d > 0 {
		return time.Now().Add(d), nil
	}
	for _, layout := range []string{time.RFC3339, time.DateOnly} {
		if at, err := time.Parse(layout, text); err == nil {
			return at, nil
		}
	}
	return time.Time{}, fmt.Errorf("%q is no date such as 2027-01-31, no time such as 2027-01-31T12:00:00Z, and no duration such as 90d or 12h", text)
}
