// Bench runs Stele and what it is measured against turn by turn, prints a table
// of ratios, and keeps it as a page. scripts/bench builds and runs it.
//
// A group of contenders ([measure.Group]) that are compared with each other take
// turns of a few seconds; a row ([measure.Row]) is the ratio of two of them, or
// one figure, with a bar that it is to reach:
//
//	append.go   many events at once, to PostgreSQL, against tables written by hand
//	sqlite.go   many events at once, against Tessera, neither with a server
//	stream.go   events acknowledged one by one on streams, against CopyFrom and Tessera
//	single.go   one event a request, against Tessera, Trillian and no work at all
//	read.go     proofs, receipts, entries, `stele check`, bytes on disk
//	grow.go     what changes at 50 million entries
//
// Everything that Stele promises is on while it is measured: JSON checks, exact
// deduplication, recorded time, hashing, durability, signing, and in one row
// cosigning. Peers have what gives them their best figure. Servers are processes
// of their own and have one client, package load. What is measured of each, and
// where its clock stops, is in the page: report/performance.md.tmpl.
//
// A bar that is missed is no error. What cannot be measured is.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/stele-log/stele/bench/events"
	"github.com/stele-log/stele/bench/measure"
	"github.com/stele-log/stele/bench/report"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var err error
	if args := os.Args[1:]; isServer(args) {
		err = serve(ctx, args)
	} else {
		err = run(ctx, args, os.Stdout, os.Stderr)
	}
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// options are what the command line says.
type options struct {
	rounds    int
	turn      time.Duration
	only      regexp.Regexp
	quick     bool
	large     uint64
	page      string
	json      string
	cluster   string
	stele     string
	realFiles string
	trillian  string
}

func parse(args []string, stderr io.Writer) (o options, err error) {
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.IntVar(&o.rounds, "rounds", 5, "how many turns each contender has")
	flags.DurationVar(&o.turn, "turn", 3*time.Second, "how long a turn is")
	flags.TextVar(&o.only, "run", regexp.MustCompile(""), "measure only the rows whose words match")
	flags.BoolVar(&o.quick, "quick", false, "one round of short turns and small logs, to see that all works")
	flags.Uint64Var(&o.large, "scale", 50_000_000, "entries of the log that is to be large")
	flags.StringVar(&o.page, "out", "", "file to write the page to")
	flags.StringVar(&o.json, "json", "", "file to write all that was measured to, as JSON")
	flags.StringVar(&o.cluster, "postgres", "", "URL of a PostgreSQL superuser; without it nothing is measured on PostgreSQL")
	flags.StringVar(&o.stele, "stele", "", "the stele binary; without it no server of Stele is measured")
	flags.StringVar(&o.realFiles, "data", os.Getenv("STELE_TEST_DATA"), "folder with real events")
	flags.StringVar(&o.trillian, "trillian-schema", "", "file with the schema of Trillian's PostgreSQL storage; without it Trillian is not measured")
	err = flags.Parse(args)
	if err == nil && flags.NArg() > 0 {
		err = fmt.Errorf("%q is no flag", flags.Arg(0))
	}
	return o, err
}

// Sizes of logs, in entries.
const (
	million   = 1_000_000
	quickSize = 20_000
)

// run measures and reports.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	o, err := parse(args, stderr)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "stele-bench.*")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	start := time.Now()
	log := func(format string, args ...any) {
		fmt.Fprintf(stderr, "%6.0f s  "+format+"\n", append([]any{time.Since(start).Seconds()}, args...)...)
	}
	l := &lab{log: log, cluster: o.cluster, dir: dir, stele: o.stele, data: o.realFiles, trillian: o.trillian,
		sizes: sizes{small: million, checked: 5 * million, medium: 10 * million, large: o.large}}
	if o.quick {
		o.rounds, o.turn = 1, 100*time.Millisecond
		l.sizes = sizes{small: quickSize, checked: quickSize, medium: 2 * quickSize, large: 10 * quickSize}
	}
	r := report.Report{Machine: report.Machine(dir), Versions: report.Versions(o.stele),
		Rounds: o.rounds, Turn: o.turn}
	if o.cluster != "" {
		if r.Settings, err = report.Settings(ctx, o.cluster); err != nil {
			return err
		}
	}
	how := measure.Options{Rounds: o.rounds, Turn: o.turn, Settle: l.settle, Log: log}
	for _, group := range groups(l) {
		if group.Rows = matching(group.Rows, &o.only); len(group.Rows) > 0 && ctx.Err() == nil {
			r.Results = append(r.Results, measure.Run(ctx, group, how))
		}
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	return write(r, o, stdout)
}

func groups(l *lab) []measure.Group {
	return []measure.Group{
		appendGroup(l), embeddedGroup(l), streamGroup(l), singleGroup(l), accessGroup(l), latencyGroup(l), readGroup(l), checkGroup(l), readLargeGroup(l),
		growGroup(l, events.UUIDv7, "ids by time"), growGroup(l, events.UUIDv4, "random ids"),
	}
}

func matching(rows []measure.Row, only *regexp.Regexp) []measure.Row {
	return slices.DeleteFunc(rows, func(r measure.Row) bool { return !only.MatchString(r.What) })
}

// write writes the page to standard output and to the files that were asked for.
// The error says what could not be measured.
func write(r report.Report, o options, stdout io.Writer) error {
	var page strings.Builder
	if err := r.Markdown(&page); err != nil {
		return err
	}
	if _, err := io.WriteString(stdout, page.String()); err != nil {
		return err
	}
	if o.page != "" {
		if err := os.WriteFile(o.page, []byte(page.String()), 0o644); err != nil {
			return err
		}
	}
	if o.json != "" {
		text, err := json.MarshalIndent(r, "", "\t")
		if err == nil {
			err = os.WriteFile(o.json, text, 0o644)
		}
		if err != nil {
			return err
		}
	}
	var failed []error
	for _, result := range r.Results {
		for who, why := range result.Failed {
			failed = append(failed, fmt.Errorf("%s: %s", who, why))
		}
	}
	return errors.Join(failed...)
}
