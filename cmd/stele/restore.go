package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/mod/sumdb/note"

	"github.com/stele-log/stele/internal/publisher"
	"github.com/stele-log/stele/internal/restore"
	"github.com/stele-log/stele/pkg/checkpoint"
	"github.com/stele-log/stele/pkg/tile"
	"github.com/stele-log/stele/pkg/tree"
)

func newRestoreCmd() *cobra.Command {
	var f restoreFlags
	cmd := &cobra.Command{
		Use:   "restore DIR",
		Short: "Rebuild a lost log from a mirror",
		Long: `Restore rebuilds a log, whose database is lost, from the folder of a mirror. It
verifies the whole copy first. Then it writes all entries, byte for byte, to the
database, and the copy's checkpoint; "stele serve" goes on from there. Stop the
server first. If it is interrupted, run it again.

It needs the log's signing key where it was, in --data: logs/NAME/ed25519.key
(and mldsa44.key, if the log has one). If logs/NAME/signed.checkpoint is there, it
must not be ahead of the copy. If it is not there, ask the log's witnesses and
readers whether anybody has seen a newer checkpoint than the copy's: the restored
log would contradict it.

What a mirror does not have is the history of checkpoints: that of the restored
log begins anew, with the copy's checkpoint as number 0, unless --heads gives an
archive from "stele export heads". Entries that no mirrored checkpoint covers are
lost; whoever has sent them can send them again.`,
		Example: `  stele restore ./copy --log default --key "$VKEY" --data /var/lib/stele
  stele restore ./copy --log audit --policy policy.txt --data /var/lib/stele --database postgres://stele@localhost/stele`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return f.run(cmd, args[0])
		},
	}
	f.store.register(cmd)
	f.trust.register(cmd)
	flags := cmd.Flags()
	flags.StringVar(&f.log, "log", defaultLog, "name of the log")
	flags.StringVar(&f.heads, "heads", "", "archive of heads, from checkpoint 0 on, to restore the history from")
	flags.BoolVar(&f.json, "json", false, "print JSON")
	return cmd
}

type restoreFlags struct {
	store storeFlags
	trust trustFlags
	log   string
	heads string
	json  bool
}

// logName keeps a log's name from leading out of its folder.
var logName = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)

func (f *restoreFlags) run(cmd *cobra.Command, from string) (err error) {
	p, err := f.trust.load()
	if err != nil {
		return err
	}
	if err := f.store.check(); err != nil {
		return err
	}
	if !logName.MatchString(f.log) {
		return fmt.Errorf("--log %q: a log's name is 1 to 63 of a-z, 0-9 and \"-\", not \"-\" at either end", f.log)
	}
	keys, err := f.readKeys()
	if err != nil {
		return err
	}
	var archive io.ReadSeeker
	if f.heads != "" {
		file, err := os.Open(f.heads)
		if err != nil {
			return err
		}
		defer file.Close()
		archive = file
	}
	unlock, err := lockDir(f.store.data)
	if err != nil {
		return err
	}
	defer unlock()
	bar := &bars{w: cmd.ErrOrStderr()}
	defer bar.finish()
	restored, err := f.restore(cmd.Context(), restore.Config{
		Copy: tile.FS(os.DirFS(from)), Policy: p, Name: f.log, Keys: keys, Heads: archive,
		Record: publisher.Record(f.path("signed.checkpoint")), Now: time.Now, Progress: bar.set,
	})
	bar.finish()
	if err != nil {
		return err
	}
	return f.print(cmd.OutOrStdout(), restored)
}

// restore opens the database and restores the log.
func (f *restoreFlags) restore(ctx context.Context, cfg restore.Config) (r restore.Result, err error) {
	if _, _, err := f.store.migrate(ctx); err != nil {
		return r, err
	}
	if cfg.Store, err = f.store.open(ctx); err != nil {
		return r, err
	}
	r, err = restore.Run(ctx, cfg)
	return r, errors.Join(err, cfg.Store.Close())
}

func (f *restoreFlags) path(name string) string {
	return filepath.Join(f.store.data, "logs", f.log, name)
}

// readKeys returns the verifiers of the log's signing keys.
func (f *restoreFlags) readKeys() ([]note.Verifier, error) {
	var keys []note.Verifier
	for _, name := range []string{"ed25519.key", "mldsa44.key"} {
		text, err := os.ReadFile(f.path(name))
		if errors.Is(err, fs.ErrNotExist) && len(keys) > 0 {
			continue
		}
		if errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("%w\nThe log's signing key must be there: put back the data folder's backup, without stele.db. "+
				"Without the key nobody can continue this log; its copy can still be served and checked, and a new log begins under another origin", err)
		}
		if err != nil {
			return nil, err
		}
		vkey, err := checkpoint.VKey(strings.TrimSpace(string(text)))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", f.path(name), err)
		}
		v, err := checkpoint.NewVerifier(vkey)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", f.path(name), err)
		}
		keys = append(keys, v)
	}
	return keys, nil
}

// bars shows the progress of one piece of work after the other.
type bars struct {
	w    io.Writer
	what string
	bar  *progress
}

func (b *bars) set(what string, done, total uint64) {
	if b.bar == nil || b.what != what {
		b.finish()
		b.what, b.bar = what, newProgress(b.w, what, "entries")
	}
	b.bar.set(done, total)
}

func (b *bars) finish() {
	if b.bar != nil {
		b.bar.finish()
		b.bar = nil
	}
}

type restoreReport struct {
	Log         string    `json:"log"`
	Origin      string    `json:"origin"`
	Size        uint64    `json:"size"`
	Root        tree.Hash `json:"root"`
	Added       uint64    `json:"added"`
	Checkpoints uint64    `json:"checkpoints"`
	NoRecord    bool      `json:"no_record"`
}

func (f *restoreFlags) print(w io.Writer, r restore.Result) error {
	if f.json {
		return printJSON(w, restoreReport{f.log, r.Origin, r.Size, r.Root, r.Added, r.Checkpoints, r.NoRecord})
	}
	fmt.Fprintf(w, "restored: log %s, %s, has %d entries, root %s\n  %d entries were written; checkpoints in its history: %d\n",
		f.log, r.Origin, r.Size, r.Root, r.Added, r.Checkpoints)
	if r.NoRecord {
		fmt.Fprintf(w, "  %s was missing and is made from the copy: before you serve the log,\n"+
			"  make sure that no witness and no reader has seen a newer checkpoint\n", f.path("signed.checkpoint"))
	}
	return nil
}
