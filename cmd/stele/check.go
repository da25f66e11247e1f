package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"time"

	"github.com/spf13/cobra"

	"github.com/stele-log/stele/pkg/client"
	"github.com/stele-log/stele/pkg/heads"
	"github.com/stele-log/stele/pkg/policy"
	"github.com/stele-log/stele/pkg/tile"
	"github.com/stele-log/stele/pkg/tree"
	"github.com/stele-log/stele/storage"
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
running.

Check trusts only the key and the policy that it is given. At the first thing that
does not fit it prints the place, and exits with 1.`,
		Example: `  stele check http://127.0.0.1:8080/logs/default --key "$(stele logs show default --json | jq -r .vkey)"
  stele check ./copy --key log.vkey --policy policy.txt
  stele check --data /var/lib/stele --key log.vkey
  stele check --database postgres://stele@localhost/stele --log audit --key log.vkey`,
		Args: cobra.MaximumNArgs(1),
		RunE: f.run,
	}
	f.trust.register(cmd)
	f.store.register(cmd)
	cmd.Flags().StringVar(&f.log, "log", defaultLog, "name of the log in the database")
	cmd.Flags().BoolVar(&f.json, "json", false, "print JSON")
	return cmd
}

type checkFlags struct {
	trust trustFlags
	store storeFlags
	log   string
	json  bool
}

func (f *checkFlags) run(cmd *cobra.Command, args []string) error {
	p, err := f.trust.load()
	if err != nil {
		return err
	}
	var report checkReport
	if len(args) == 1 {
		report, err = f.checkPlace(cmd, p, args[0])
	} else {
		report, err = f.checkStored(cmd, p)
	}
	if err != nil {
		return err
	}
	return f.print(cmd.OutOrStdout(), report)
}

// checkPlace checks the log at a URL or in a folder.
func (f *checkFlags) checkPlace(cmd *cobra.Command, p *policy.Policy, place string) (checkReport, error) {
	for _, name := range []string{"data", "database", "log"} {
		if isTyped(cmd.Flags(), name) {
			return checkReport{}, fmt.Errorf("--%s is for a log in a database, and %q is another place: give one of them", name, place)
		}
	}
	reader, c := openLog(place)
	var history iter.Seq2[heads.Checkpoint, error]
	if c != nil {
		history = client.History(cmd.Context(), c, place, 0)
	}
	return check(cmd, reader, p, history)
}

// checkStored checks a log in a server's database.
func (f *checkFlags) checkStored(cmd *cobra.Command, p *policy.Policy) (report checkReport, err error) {
	if err := f.store.check(); err != nil {
		return report, err
	}
	store, err := f.store.open(cmd.Context())
	if errors.Is(err, fs.ErrNotExist) {
		return report, fmt.Errorf("%w\nGive a log's URL or folder, or the place where a server keeps it, with --data or --database", err)
	}
	if err != nil {
		return report, err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	stored, err := store.OpenLog(cmd.Context(), f.log)
	if err != nil {
		return report, err
	}
	reader := storage.NewReader(stored, storage.NewCache(checkCache))
	if report, err = check(cmd, reader, p, storage.History(cmd.Context(), stored)); err != nil {
		return report, err
	}
	head, err := stored.Head(cmd.Context())
	if err != nil {
		return report, err
	}
	report.Unpublished = max(head.Size, report.Size) - report.Size
	guards, err := store.Guards(cmd.Context())
	missing := append([]string{}, guards.Missing...)
	report.Guards = &missing
	return report, err
}

// checkCache is the size of a checked log's tile cache, in bytes: it reads each
// tile once.
const checkCache = 1 << 20

func check(cmd *cobra.Command, r tile.Reader, p *policy.Policy, history iter.Seq2[heads.Checkpoint, error]) (checkReport, error) {
	bar := &progress{w: cmd.ErrOrStderr(), unit: "entries"}
	start := time.Now()
	report, err := client.Check(cmd.Context(), r, p, client.CheckOptions{History: history,
		Progress: func(done, total uint64) { bar.set("checking", done, total) }})
	bar.finish()
	if err != nil {
		return checkReport{}, fmt.Errorf("NOT whole: %w", err)
	}
	return checkReport{
		Origin: report.Origin, Size: report.Head.Size, Root: report.Root,
		Past: report.Past, Cosigned: len(report.Cosignatures), Seconds: time.Since(start).Seconds(),
	}, nil
}

type checkReport struct {
	Origin      string    `json:"origin"`
	Size        uint64    `json:"size"`
	Root        tree.Hash `json:"root"`
	Past        uint64    `json:"history"`
	Cosigned    int       `json:"cosigned"`
	Unpublished uint64    `json:"unpublished,omitempty"`    // entries that no checkpoint covers yet
	Guards      *[]string `json:"guards_missing,omitempty"` // of the database: a sentence for each
	Seconds     float64   `json:"seconds"`
}

func (f *checkFlags) print(w io.Writer, r checkReport) error {
	if f.json {
		return printJSON(w, r)
	}
	fmt.Fprintf(w, "whole: %s has %d entries, root %s\n  %d checkpoints of its history agree, %d witnesses have cosigned (%.1f s)\n",
		r.Origin, r.Size, r.Root, r.Past, r.Cosigned, r.Seconds)
	if r.Unpublished > 0 {
		fmt.Fprintf(w, "  not checked: %d newer entries, which no published checkpoint covers yet\n", r.Unpublished)
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
