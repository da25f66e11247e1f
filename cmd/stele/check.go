package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/stele-log/stele/pkg/client"
	"github.com/stele-log/stele/pkg/tile"
	"github.com/stele-log/stele/pkg/tree"
)

func newCheckCmd() *cobra.Command {
	var trust trustFlags
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "check URL|DIR",
		Short: "Fetch a whole log and hash everything anew",
		Long: `Check reads a whole log, from the URL of its tlog-tiles prefix or from a folder
with the same layout, and hashes everything anew: every entry, every tile, the
root, and the checkpoint's signature. Where the log serves its history of
checkpoints, as Stele does, each of them must be signed and agree too.

It trusts the key and the policy that it is given and nothing else. At the first
thing that does not fit it says where, and exits with 1.`,
		Example: `  stele check http://127.0.0.1:8080/logs/default --key "$(stele logs show default --json | jq -r .vkey)"
  stele check ./copy --key log.vkey --policy policy.txt`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			p, err := trust.load()
			if err != nil {
				return err
			}
			bar := newProgress(cmd.ErrOrStderr(), "checking", "entries")
			reader, c := openLog(args[0])
			options := client.CheckOptions{Progress: bar.set}
			if c != nil {
				options.History = client.History(cmd.Context(), c, args[0])
			}
			start := time.Now()
			report, err := client.Check(cmd.Context(), reader, p, options)
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
