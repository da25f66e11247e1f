package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/stele-log/stele/internal/inspect"
	"github.com/stele-log/stele/pkg/client"
	"github.com/stele-log/stele/pkg/policy"
	"github.com/stele-log/stele/pkg/proof"
	"github.com/stele-log/stele/pkg/tile"
	"github.com/stele-log/stele/pkg/tree"
)

func newCheckCmd() *cobra.Command {
	var f checkFlags
	cmd := &cobra.Command{
		Use:   "check [URL|DIR]",
		Short: "Read a whole log and hash everything again",
		Long: `Check reads a whole log and hashes everything again: every entry, every tile and
the root; and it verifies the checkpoint's signature. Where the log serves its
history of checkpoints, as Stele's do, each of them must be signed and agree too.

Give the URL of the log's tlog-tiles prefix, or a folder with the same layout.
Without either, check reads the log named --log from a server's database,
--database or else SQLite in --data. It does so without the server, which may be
running. Then the heads of all commits are checked too, up to the newest; and, with
--data, that the database has all that the server has on record there as signed and
published, and every log that has a folder there.

A log may have been cut off, or begun again. Keep a checkpoint or a receipt of it, and
give it with --since: then check tells whether the log still contains what you have.

Check trusts only the key and the policy that it is given. The newest checkpoint must
meet the newest --policy. Earlier ones are judged by the log's key; with several
--policy, in the order of time, each by the policy of its time.

Exit status: 0 if the log is whole; 1 if it is not: then the place is printed; 2 if the
command was not understood, or no key can be used; 3 if the log could not be checked,
such as when nothing answers, or it is another log than the key's. With --json an
object is printed whatever the outcome, with verdict: verified, contradicted or
unchecked, and for the last two a reason.`,
		Example: `  stele check http://127.0.0.1:8080/logs/default --key "$(stele logs show default --json | jq -r .vkey)"
  stele check https://logs.example.com/logs/audit --key log.vkey --since last-year.checkpoint --since 41.tlog-proof
  stele check https://logs.example.com/logs/audit --policy before-2026.txt --policy policy.txt
  stele check ./copy --key log.vkey --policy policy.txt
  stele check --data /var/lib/stele --key log.vkey
  stele check --database postgres://stele@localhost/stele --data /var/lib/stele --log audit --key log.vkey`,
		Args: cobra.MaximumNArgs(1),
		RunE: verify("NOT whole", &f.json, f.run),
	}
	f.trust.registerPast(cmd)
	f.read.register(cmd)
	f.store.register(cmd)
	cmd.Flags().StringVar(&f.log, "log", defaultLog, "name of the log in the database")
	cmd.Flags().StringArrayVar(&f.since, "since", nil, "file with a checkpoint or a receipt that the log must still contain; can be given more than once")
	cmd.Flags().BoolVar(&f.json, "json", false, "print JSON")
	return cmd
}

type checkFlags struct {
	trust trustFlags
	read  readFlags
	store storeFlags
	log   string
	since []string
	json  bool
}

func (f *checkFlags) run(cmd *cobra.Command, args []string) error {
	policies, err := f.trust.loadAll()
	if err != nil {
		return err
	}
	var known []client.KnownHead
	for _, name := range f.since {
		k, err := readKnown(name, policies)
		if err != nil {
			return tile.Unchecked(fmt.Errorf("--since %s: %w", name, err))
		}
		known = append(known, k)
	}
	bar := &progress{w: cmd.ErrOrStderr(), unit: "entries"}
	start := time.Now()
	cfg := inspect.Config{Policies: policies, Known: known, Name: f.log,
		Progress: func(done, total uint64) { bar.set("checking", done, total) }}
	var report inspect.Report
	if len(args) == 1 {
		report.Report, err = f.checkPlace(cmd, cfg, args[0])
	} else {
		report, err = f.checkStored(cmd, cfg)
	}
	bar.finish()
	if err != nil {
		return err
	}
	return f.print(cmd.OutOrStdout(), f.reportOf(report, time.Since(start)))
}

// readKnown reads a head that somebody has kept, from a checkpoint or a receipt. The log's
// key must have signed it, whoever else has.
func readKnown(name string, policies []*policy.Policy) (k client.KnownHead, err error) {
	text, err := readFile(name, proof.MaxReceipt)
	if err != nil {
		return k, err
	}
	if bytes.HasPrefix(text, []byte("c2sp.org/tlog-proof")) {
		r, err := proof.ParseReceipt(text)
		if err != nil {
			return k, err
		}
		text = r.Checkpoint
	}
	for _, p := range slices.Backward(policies) {
		var r policy.Result
		if r, err = p.WithoutWitnesses().Check(text); err == nil {
			return client.KnownHead{Name: name, Head: r.Head}, nil
		}
	}
	return k, err
}

// checkPlace checks the log at a URL or in a folder.
func (f *checkFlags) checkPlace(cmd *cobra.Command, cfg inspect.Config, place string) (client.Report, error) {
	for _, name := range []string{"data", "database", "log"} {
		if isTyped(cmd.Flags(), name) {
			return client.Report{}, exitError{fmt.Errorf("--%s is for a log in a database, and %q is another place: give one of them", name, place), exitUsage}
		}
	}
	reader, c, err := f.read.open(place)
	if err != nil {
		return client.Report{}, err
	}
	newest := len(cfg.Policies) - 1
	options := client.CheckOptions{Earlier: cfg.Policies[:newest], Known: cfg.Known, Progress: cfg.Progress}
	if c != nil {
		options.History = client.History(cmd.Context(), c, place, 0)
	}
	report, err := client.Check(cmd.Context(), reader, cfg.Policies[newest], options)
	return report, notALog(err, place)
}

// checkStored checks a log in a server's database. With PostgreSQL the data folder need
// not be that server's, unless it is given.
func (f *checkFlags) checkStored(cmd *cobra.Command, cfg inspect.Config) (report inspect.Report, err error) {
	if err := f.store.check(); err != nil {
		return report, exitError{err, exitUsage}
	}
	cfg.Store, err = f.store.open(cmd.Context())
	if errors.Is(err, fs.ErrNotExist) {
		err = fmt.Errorf("%w\nGive a log's URL or folder, or the place where a server keeps it, with --data or --database", err)
	}
	if err != nil {
		return report, tile.Unchecked(err)
	}
	defer func() { err = errors.Join(err, cfg.Store.Close()) }()
	if !f.store.isPostgres() || cmd.Flags().Changed("data") {
		cfg.Dir = f.store.data
	}
	return inspect.Log(cmd.Context(), cfg)
}

type checkReport struct {
	Verdict     string    `json:"verdict"`
	Origin      string    `json:"origin"`
	Size        uint64    `json:"size"`
	Root        tree.Hash `json:"root"`
	Past        uint64    `json:"history"`
	Before      uint64    `json:"before_policy,omitempty"` // of the history: from before the policy
	Unmet       uint64    `json:"unmet,omitempty"`         // of the history: later, and not cosigned as the policy asks
	Cosigned    int       `json:"cosigned"`
	Unpublished uint64    `json:"unpublished,omitempty"`    // entries that no checkpoint covers yet
	Since       []string  `json:"since,omitempty"`          // files whose heads the log contains
	Signed      *uint64   `json:"signed,omitempty"`         // size on the server's record that the log contains
	Published   *uint64   `json:"published,omitempty"`      // number on the server's record that the history has
	HeadMACs    bool      `json:"head_macs,omitempty"`      // whether each head is from a server of the log
	Unused      []string  `json:"unused,omitempty"`         // folders of logs that are not in the database
	Guards      *[]string `json:"guards_missing,omitempty"` // of the database: a sentence for each
	Seconds     float64   `json:"seconds"`
}

func (f *checkFlags) reportOf(r inspect.Report, elapsed time.Duration) checkReport {
	return checkReport{
		Verdict: verdictVerified, Origin: r.Origin, Size: r.Head.Size, Root: r.Root,
		Past: r.Past, Before: r.Before, Unmet: r.Unmet, Cosigned: len(r.Cosignatures), Unpublished: r.Uncovered,
		Since: f.since, Signed: r.Signed, Published: r.Published, HeadMACs: r.HeadMACs,
		Unused: r.Unused, Guards: r.Guards,
		Seconds: elapsed.Seconds(),
	}
}

func (f *checkFlags) print(w io.Writer, r checkReport) error {
	if f.json {
		return printJSON(w, r)
	}
	fmt.Fprintf(w, "whole: %s has %d entries, root %s\n", r.Origin, r.Size, r.Root)
	if r.Past > 0 {
		fmt.Fprintf(w, "  %d checkpoints of its history agree, %d witnesses have cosigned (%.1f s)\n", r.Past, r.Cosigned, r.Seconds)
	} else {
		fmt.Fprintf(w, "  no history of checkpoints is kept here, %d witnesses have cosigned (%.1f s)\n", r.Cosigned, r.Seconds)
	}
	if r.Before > 0 {
		fmt.Fprintf(w, "  %d of them are from before the policy: the log's key has signed them\n", r.Before)
	}
	if r.Unmet > 0 {
		fmt.Fprintf(w, "  %d of them are later, and do not meet the policy: the log's key has signed them\n", r.Unmet)
	}
	for _, name := range r.Since {
		fmt.Fprintf(w, "  it contains what %s has\n", name)
	}
	if r.Signed != nil {
		fmt.Fprintf(w, "  it contains the head of size %d, which the server has signed last\n", *r.Signed)
	}
	if r.Published != nil {
		fmt.Fprintf(w, "  its history has checkpoint %d, which the server has published last\n", *r.Published)
	}
	if r.Unpublished > 0 {
		fmt.Fprintf(w, "  %d newer entries agree with the newest head, which no published checkpoint covers yet\n", r.Unpublished)
	}
	if r.HeadMACs {
		fmt.Fprintln(w, "  each of its heads was committed by a server that has the log's head.key")
	}
	for _, name := range r.Unused {
		fmt.Fprintf(w, "  there is a folder for a log %s, which the database does not have; it has signed nothing\n", name)
	}
	printGuards(w, r.Guards)
	return nil
}

// printGuards prints which guards of the database are missing, nil if there is no
// database.
func printGuards(w io.Writer, missing *[]string) {
	switch {
	case missing == nil:
	case len(*missing) == 0:
		fmt.Fprintln(w, "  the database's guards are present")
	default:
		fmt.Fprintf(w, "  %d of the database's guards are MISSING or changed:\n", len(*missing))
		for _, what := range *missing {
			fmt.Fprintf(w, "    %s\n", what)
		}
	}
}
