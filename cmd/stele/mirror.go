package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/stele-log/stele/internal/watch/mirror"
	"github.com/stele-log/stele/pkg/tile"
	"github.com/stele-log/stele/pkg/tree"
)

func newMirrorCmd() *cobra.Command {
	var f mirrorFlags
	cmd := &cobra.Command{
		Use:   "mirror URL DIR",
		Short: "Keep a verified full copy of a log",
		Long: `Mirror keeps a full copy of a log in a folder, in the layout of C2SP tlog-tiles:
"stele check DIR" accepts it, any web server can serve it, and "stele restore"
rebuilds a lost log from it. The source is the URL of a log's tlog-tiles prefix, or
a folder with the same layout.

It trusts only the key and the policy that it is given: it hashes every entry, and
follows a checkpoint only if it is proven consistent with the one before. If it is
not, the log has signed two histories: the copy stays as it is, both checkpoints are
printed, and the exit status is 1.

Whenever it is stopped, the copy is complete for the checkpoint that it shows.

Exit status: 0 if the copy is up to date, or mirror was stopped; 1 if the log contradicts
itself, or what it shows is damaged; 2 if the command was not understood, or no key can
be used; 3 if the copy could not be brought up to date for another reason. With --json a
run that does not end well prints an object with verdict, contradicted or unchecked, and
a reason.`,
		Example: `  stele mirror http://127.0.0.1:8080/logs/default ./copy --key "$VKEY"
  stele mirror https://logs.example.com/logs/audit /srv/audit --policy policy.txt --once`,
		Args: cobra.ExactArgs(2),
		RunE: verify("NOT copied", &f.json, func(cmd *cobra.Command, args []string) error {
			return f.run(cmd, args[0], args[1])
		}),
	}
	f.trust.register(cmd)
	f.read.register(cmd)
	flags := cmd.Flags()
	flags.BoolVar(&f.once, "once", false, "bring the copy up to date and exit")
	flags.DurationVar(&f.interval, "interval", 10*time.Second, "time between checks for a new checkpoint")
	flags.BoolVar(&f.json, "json", false, "print JSON, one line for each update")
	return cmd
}

type mirrorFlags struct {
	trust    trustFlags
	read     readFlags
	once     bool
	interval time.Duration
	json     bool
}

func (f *mirrorFlags) run(cmd *cobra.Command, from, dir string) error {
	p, err := f.trust.load()
	if err != nil {
		return err
	}
	if f.interval <= 0 {
		return exitError{errors.New("--interval must be more than 0"), exitUsage}
	}
	reader, _, err := f.read.open(from)
	if err != nil {
		return err
	}
	bar := &progress{w: cmd.ErrOrStderr(), unit: "entries"}
	m, err := mirror.Open(mirror.Config{Log: reader, Dir: dir, Policy: p,
		Progress: func(done, total uint64) { bar.set("mirroring", done, total) }})
	if err != nil {
		return tile.Unchecked(err)
	}
	defer m.Close()
	defer bar.finish()
	if f.once {
		u, err := m.Update(cmd.Context())
		bar.finish()
		if err != nil {
			return explainMirror(notALog(err, from))
		}
		return f.print(cmd.OutOrStdout(), u)
	}
	return explainMirror(m.Run(cmd.Context(), f.interval, func(u mirror.Update, err error) {
		bar.finish()
		if err == nil && u.Changed {
			err = f.print(cmd.OutOrStdout(), u)
		}
		if err != nil {
			fmt.Fprintf(cmd.ErrOrStderr(), "%v; trying again in %v\n", err, f.interval)
		}
	}))
}

// explainMirror adds to an error the checkpoints that prove it.
func explainMirror(err error) error {
	if forked, ok := errors.AsType[*mirror.InconsistentError](err); ok {
		return fmt.Errorf("%w\n\nBoth are signed by the log; keep them, they are the proof. That of the copy:\n\n%s\nand that of the log:\n\n%s",
			err, forked.CopyNote, forked.LogNote)
	}
	if errors.Is(err, context.Canceled) {
		return tile.Unchecked(errors.New("interrupted; what was fetched is used by the next run"))
	}
	return err
}

type mirrorReport struct {
	Origin  string    `json:"origin"`
	Size    uint64    `json:"size"`
	Root    tree.Hash `json:"root"`
	Added   uint64    `json:"added"`
	Changed bool      `json:"changed"`
	Seconds float64   `json:"seconds"`
}

func (f *mirrorFlags) print(w io.Writer, u mirror.Update) error {
	if f.json {
		return printJSON(w, mirrorReport{u.Origin, u.Size, u.Root, u.Added, u.Changed, u.Elapsed.Seconds()})
	}
	_, err := fmt.Fprintf(w, "copied: %s has %d entries, %d of them new, root %s (%.1f s)\n",
		u.Origin, u.Size, u.Added, u.Root, u.Elapsed.Seconds())
	return err
}
