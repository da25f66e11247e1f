package main

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/stele-log/stele/pkg/client"
	"github.com/stele-log/stele/pkg/tree"
)

func newCheckCmd() *cobra.Command {
	var trust trustFlags
	var asJSON bool
	var name string
	cmd := &cobra.Command{
		Use:   "check URL|DIR|postgres://...",
		Short: "Read a whole log and hash everything anew",
		Long: `Check reads a whole log and hashes everything anew: every entry, every tile, the
root, and the checkpoint's signature. Where there is a history of checkpoints, as
Stele keeps one, each of them must be signed and agree too.

The log is at the URL of its tlog-tiles prefix, or in a folder with the same
layout. Or it is read where a server keeps it, whether the server runs or not: in
PostgreSQL, by the database's URL, or in SQLite, by the server's data folder;
--log says which of the logs in there. (A password need not stand in a URL: the
variable PGPASSWORD and the file ~/.pgpass are understood.)

It trusts the key and the policy that it is given and nothing else. At the first
thing that does not fit it says where, and exits with 1.`,
		Example: `  stele check http://127.0.0.1:8080/logs/default --key "$(stele logs show default --json | jq -r .vkey)"
  stele check ./copy --key log.vkey --policy policy.txt
  stele check postgres://stele@localhost/stele --log default --key log.vkey
  stele check ./stele-data --key log.vkey`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			p, err := trust.load()
			if err != nil {
				return err
			}
			bar := newProgress(cmd.ErrOrStderr(), "checking", "entries")
			l, err := openPlace(cmd.Context(), args[0], name)
			if err != nil {
				return err
			}
			defer l.close()
			start := time.Now()
			report, err := client.Check(cmd.Context(), l.reader, p, client.CheckOptions{History: l.history, Progress: bar.set})
			bar.finish()
			if err != nil {
				return fmt.Errorf("NOT whole: %w", err)
			}
			out := checkReport{report.Origin, report.Head.Size, report.Root, report.Past, len(report.Cosignatures), time.Since(start).Seconds()}
			if asJSON {
				return json.NewEncoder(cmd.OutOrStdout()).Encode(out)
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "whole: %s has %d entries, root %s\n"+
				"  %d checkpoints of its history agree, %d witnesses have cosigned (%.1f s)\n",
				out.Origin, out.Size, out.Root, out.Past, out.Cosigned, out.Seconds)
			return err
		},
	}
	trust.register(cmd)
	cmd.Flags().StringVar(&name, "log", defaultLog, "name of the log in a database")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

type checkReport struct {
	Origin   string    `json:"origin"`
	Size     uint64    `json:"size"`
	Root     tree.Hash `json:"root"`
	Past     uint64    `json:"history"`
	Cosigned int       `json:"cosigned"`
	Seconds  float64   `json:"seconds"`
}
