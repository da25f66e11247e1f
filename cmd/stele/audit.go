package main

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/spf13/cobra"

	"github.com/stele-log/stele/internal/durable"
	"github.com/stele-log/stele/internal/watch/auditor"
	"github.com/stele-log/stele/pkg/tile"
)

// auditFlags are what to follow, and what to do with what is found.
type auditFlags struct {
	trust           trustFlags
	read            readFlags
	state           string
	once            bool
	interval        time.Duration
	webhook         string
	onContradiction string
	metrics         string
	json            bool
}

func newAuditCmd() *cobra.Command {
	var f auditFlags
	cmd := &cobra.Command{
		Use:   "audit URL...",
		Short: "Follow logs, and prove it if one contradicts itself",
		Long: `Audit follows logs until it is stopped, each at the URL of its tlog-tiles prefix; a
log may have several URLs. It keeps every signed head that it sees there, and at the
witnesses of the policy, proves each consistent with all before it, and hashes every
entry.

If a log contradicts itself, audit writes a contradiction file into the state folder,
which "stele verify contradiction" checks offline, and calls the webhook: a POST of
one JSON object, tried up to four times. Then it exits or continues, as
--on-contradiction tells it. At each start it reports the contradictions of earlier
runs again, as if just found, until somebody moves their files away.

It trusts only the keys that it is given. The state folder is its memory: keep it.

Exit status: 0 if all is well, or it was stopped; 1 if a log contradicts itself; 2
if the command was not understood, or no key can be used; 3 if it could not be
finished: a log cannot be reached or a head not proven (with --once), or the state
folder is damaged. With --json the last line of a run that does not end well is an
object with verdict, contradicted or unchecked, and a reason.`,
		Example: `  stele audit https://logs.example.com/logs/default --key log.vkey --state ./audit
  stele audit https://a.example/log https://b.example/log --policy policy.txt --state ./audit \
      --on-contradiction continue --webhook https://alerts.example/hook --metrics 127.0.0.1:9100
  stele audit https://logs.example.com/logs/default --policy policy.txt --state ./audit --once`,
		Args: cobra.MinimumNArgs(1),
		RunE: verify("CONTRADICTION", &f.json, func(cmd *cobra.Command, args []string) error {
			err := f.run(cmd, args)
			if errors.Is(err, auditor.ErrContradiction) {
				return err
			}
			return tile.Unchecked(err)
		}),
	}
	f.trust.register(cmd)
	f.read.register(cmd)
	flags := cmd.Flags()
	flags.StringVar(&f.state, "state", "", "folder for what the auditor remembers; created if missing")
	flags.BoolVar(&f.once, "once", false, "audit up to the newest heads, once, and exit")
	flags.DurationVar(&f.interval, "interval", 5*time.Second, "time between checks of a log, 100ms or more")
	flags.StringVar(&f.webhook, "webhook", "", "URL to send contradictions, rollbacks and heads that stay unproven to")
	flags.StringVar(&f.onContradiction, "on-contradiction", "exit", "what to do after a contradiction: exit or continue")
	flags.StringVar(&f.metrics, "metrics", "", "address to serve Prometheus metrics on, as /metrics")
	flags.BoolVar(&f.json, "json", false, "print reports as JSON, one a line")
	if err := cmd.MarkFlagRequired("state"); err != nil {
		panic(err) // the flag is registered above
	}
	return cmd
}

func (f *auditFlags) check(urls []string) error {
	for _, u := range urls {
		if !strings.HasPrefix(u, "http://") && !strings.HasPrefix(u, "https://") {
			return fmt.Errorf("%q is not the URL of a log: want one like https://logs.example.com/logs/default", u)
		}
	}
	if f.interval < minInterval {
		return fmt.Errorf("--interval must be %v or more", minInterval)
	}
	if f.onContradiction != "exit" && f.onContradiction != "continue" {
		return fmt.Errorf("--on-contradiction must be exit or continue, not %q", f.onContradiction)
	}
	return nil
}

func (f *auditFlags) run(cmd *cobra.Command, urls []string) error {
	if err := f.check(urls); err != nil {
		return exitError{err, exitUsage}
	}
	p, err := f.trust.load()
	if err != nil {
		return exitError{err, exitUsage}
	}
	if err := durable.MkdirAll(durable.System, f.state, 0o700); err != nil {
		return err
	}
	unlock, err := lockDir(f.state)
	if err != nil {
		return fmt.Errorf("--state: %w", err)
	}
	defer unlock()
	c, err := f.read.client(urls...)
	if err != nil {
		return err
	}
	a, err := auditor.New(cmd.Context(), auditor.Config{
		URLs: urls, Policy: p, Dir: f.state, Interval: f.interval, Webhook: f.webhook,
		HTTP:     tile.StayOnHost(c),
		Continue: f.onContradiction == "continue",
		Logger:   slog.New(slog.NewTextHandler(cmd.ErrOrStderr(), nil)), Now: time.Now,
		Report: func(r auditor.Report) { f.print(cmd.OutOrStdout(), r) },
	})
	if err != nil {
		return err
	}
	stop, err := f.serveMetrics(a)
	if err != nil {
		return err
	}
	defer stop()
	if f.once {
		return a.Once(cmd.Context())
	}
	return a.Run(cmd.Context())
}

// print prints a report to standard output: contradictions always, all if JSON
// is asked for. The log on standard error has everything.
func (f *auditFlags) print(w io.Writer, r auditor.Report) {
	switch {
	case f.json:
		_ = printJSON(w, r)
	case r.Contradiction():
		fmt.Fprintf(w, "CONTRADICTION (%s): %s\n", r.Kind, r.Detail)
		if r.File != "" {
			fmt.Fprintf(w, "  proof: %s\n", filepath.Join(f.state, r.File))
		}
	}
}

// serveMetrics serves the auditor's metrics until stop is called.
func (f *auditFlags) serveMetrics(a *auditor.Auditor) (stop func(), err error) {
	if f.metrics == "" {
		return func() {}, nil
	}
	l, err := net.Listen("tcp", f.metrics)
	if err != nil {
		return nil, fmt.Errorf("%w; choose another address with --metrics", err)
	}
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(a.Metrics(), promhttp.HandlerOpts{}))
	s := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	go func() { _ = s.Serve(l) }()
	return func() { _ = s.Close() }, nil
}
