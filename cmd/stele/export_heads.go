package main

import (
	"context"
	"fmt"
	"io"
	"iter"

	"github.com/spf13/cobra"

	"github.com/stele-log/stele/internal/durable"
	"github.com/stele-log/stele/pkg/client"
	"github.com/stele-log/stele/pkg/heads"
	"github.com/stele-log/stele/pkg/tile"
)

type exportHeadsFlags struct {
	read     readFlags
	trust    trustFlags
	from, to string
	out      string
}

func newExportHeadsCmd() *cobra.Command {
	var f exportHeadsFlags
	cmd := &cobra.Command{
		Use:   "heads URL",
		Short: "Write every signed head of a period to one file",
		Long: `Export heads writes every checkpoint that a log has published in a period, with
its cosignatures, the consistency proofs that chain them, and the keys, to one
text file. "stele verify heads" checks it offline.

The period is from --from up to --to, each a size (42), a day (2026-10-01, at
midnight UTC) or a time (2026-10-01T06:00:00Z). It includes checkpoints of the
size --to, but not those of the time --to. The archive begins with the checkpoint
before the period, if there is one, so that archives of adjoining periods are
chained too. Times are the times of publication, as the log states them.

It trusts only the key and the policy that it is given, and verifies what it
writes. The log's newest checkpoint must meet the newest --policy; earlier ones are
judged as by "stele check". The log must serve its history of checkpoints, as Stele
does.

Exit status: 0 if the archive was written; 1 if the log contradicts itself, or what it
shows is damaged; 2 if the command was not understood, or no key can be used; 3 if the
archive could not be written for another reason.`,
		Example: `  stele export heads http://127.0.0.1:8080/logs/default --key "$VKEY" -o all.heads
  stele export heads https://logs.example.com/logs/audit --policy policy.txt --from 2026-10-01 --to 2026-11-01 -o 2026-10.heads`,
		Args: cobra.ExactArgs(1),
		RunE: verify("NOT written", new(bool), f.run),
	}
	f.trust.registerPast(cmd)
	f.read.register(cmd)
	flags := cmd.Flags()
	flags.StringVar(&f.from, "from", "", "first size, day or time of the period (default: the log's beginning)")
	flags.StringVar(&f.to, "to", "", "last size, or the day or time at which the period ends (default: now)")
	flags.StringVarP(&f.out, "output", "o", "", "file to write (default: standard output)")
	return cmd
}

func (f *exportHeadsFlags) run(cmd *cobra.Command, args []string) error {
	cfg, err := f.config(args[0])
	if err != nil {
		return err
	}
	var done heads.Exported
	var failed error // of the export, not of writing
	export := func(w io.Writer) error {
		done, failed = heads.Export(cmd.Context(), w, cfg)
		return failed
	}
	if f.out == "" {
		err = export(cmd.OutOrStdout())
	} else {
		err = durable.ReplaceFunc(durable.System, f.out, 0o644, export)
	}
	switch {
	case failed != nil:
		return notALog(failed, args[0])
	case err != nil:
		return tile.Unchecked(err)
	case f.out == "":
		return nil
	}
	fmt.Fprintf(cmd.OutOrStdout(), "written: %d checkpoints, of sizes %d to %d, to %s\n", done.Count, done.First, done.Last, f.out)
	if done.Unlisted > 0 {
		fmt.Fprintf(cmd.ErrOrStderr(), "the log's newest checkpoint, of %d entries, is not in the history that its server lists, and not in the archive\n", done.Unlisted)
	}
	if done.ByKey > 0 {
		fmt.Fprintf(cmd.OutOrStdout(), "  %d of them do not meet the policy, or are from before it: the log's key has signed them\n", done.ByKey)
	}
	return nil
}

// config returns what is to be exported. An error is about how the command was given.
func (f *exportHeadsFlags) config(url string) (cfg heads.ExportConfig, err error) {
	policies, err := f.trust.loadAll()
	if err != nil {
		return cfg, err
	}
	reader, c, err := f.read.open(url)
	if err != nil {
		return cfg, err
	}
	if c == nil {
		return cfg, exitError{fmt.Errorf("%q is not the http URL of a log: a folder has no history of checkpoints", url), exitUsage}
	}
	newest := len(policies) - 1
	cfg = heads.ExportConfig{Log: reader, Policy: policies[newest], Earlier: policies[:newest],
		History: func(ctx context.Context, from uint64) iter.Seq2[heads.Checkpoint, error] {
			return client.History(ctx, c, url, from)
		},
	}
	if cfg.From, err = heads.ParseBound(f.from); err != nil {
		return cfg, exitError{fmt.Errorf("--from %w", err), exitUsage}
	}
	if cfg.To, err = heads.ParseBound(f.to); err != nil {
		return cfg, exitError{fmt.Errorf("--to %w", err), exitUsage}
	}
	return cfg, nil
}
