package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"net/http"
	"os"
	"strings"
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
		Short: "Read a whole log and hash everything anew",
		Long: `Check reads a whole log and hashes everything anew: every entry, every tile, the
root, and the checkpoint's signature. Where the log has its history of
checkpoints, as Stele's have, each of them must be signed and agree too.

The log is at the URL of its tlog-tiles prefix, or in a folder with the same
layout. Without either, it is the one called --log in a server's database, in
--database or else in --data, read without the server, which may be running.

Check trusts the key and the policy that it is given and nothing else. At the
first thing that does not fit it says where, and exits with 1.`,
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
			return checkReport{}, fmt.Errorf("--%s says where in a database a log is, and %q is another place: give one of them", name, place)
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
		return report, fmt.Errorf("%w\nGive a log's URL or folder, or say with --data or --database where a server keeps it", err)
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
	report.Unpublished = max(head.Size, report.Size) - report.Size
	return report, err
}

// checkCache is the size of a checked log's tile cache, in bytes: it reads each
// tile once.
const checkCache = 1 << 20

func check(cmd *cobra.Command, r tile.Reader, p *policy.Policy, history iter.Seq2[heads.Checkpoint, error]) (checkReport, error) {
	bar := newProgress(cmd.ErrOrStderr(), "checking", "entries")
	start := time.Now()
	report, err := client.Check(cmd.Context(), r, p, client.CheckOptions{History: history, Progress: bar.set})
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
	Unpublished uint64    `json:"unpublished,omitempty"` // entries that no checkpoint covers yet
	Seconds     float64   `json:"seconds"`
}

func (f *checkFlags) print(w io.Writer, r checkReport) error {
	if f.json {
		return json.NewEncoder(w).Encode(r)
	}
	fmt.Fprintf(w, "whole: %s has %d entries, root %s\n  %d checkpoints of its history agree, %d witnesses have cosigned (%.1f s)\n",
		r.Origin, r.Size, r.Root, r.Past, r.Cosigned, r.Seconds)
	if r.Unpublished > 0 {
		fmt.Fprintf(w, "  not checked: %d newer entries, that no published checkpoint covers yet\n", r.Unpublished)
	}
	return nil
}

// openLog returns a reader of the log at a URL or in a folder, and what it gets
// a URL with.
func openLog(place string) (tile.Reader, *http.Client) {
	if !strings.HasPrefix(place, "http://") && !strings.HasPrefix(place, "https://") {
		return tile.FS(os.DirFS(place)), nil
	}
	c := &http.Client{Timeout: time.Minute, Transport: &http.Transport{
		Proxy: http.ProxyFromEnvironment, MaxIdleConnsPerHost: 64, DisableCompression: true,
	}}
	return tile.HTTP(c, place), c
}
