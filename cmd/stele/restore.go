package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/mod/sumdb/note"

	"github.com/stele-log/stele/internal/engine"
	"github.com/stele-log/stele/internal/restore"
	"github.com/stele-log/stele/pkg/tile"
	"github.com/stele-log/stele/pkg/tree"
	"github.com/stele-log/stele/storage"
)

func newRestoreCmd() *cobra.Command {
	var f restoreFlags
	cmd := &cobra.Command{
		Use:   "restore DIR",
		Short: "Rebuild a lost log from a mirror",
		Long: `Restore rebuilds a log, whose database is lost or was rolled back, from the folder
of a mirror. It verifies the whole copy first. Then it writes all entries that the
database lacks, byte for byte, and the copy's checkpoint; "stele serve" continues from
there. Stop the server first. If restore is interrupted, run it again.

A log that is there already must be the beginning of the copy: so it is after a
rollback, since a server takes no events for a log that it does not sign. If the
log has other entries, restore into an empty database.

It needs the log's signing key where it was, in --data: logs/NAME/ed25519.key
(and mldsa44.key, if the log has one). If logs/NAME/signed.checkpoint is there, it
must not be ahead of the copy. If it is missing, ask the log's witnesses and
readers whether anybody has seen a newer checkpoint than the copy's: the restored
log would contradict it.

A mirror does not have the history of checkpoints: the restored log's history
begins with the copy's checkpoint as number 0, unless --heads gives an archive from
"stele export heads". Entries that no mirrored checkpoint covers are lost; their
senders can send them again.`,
		Example: `  stele restore ./copy --log default --key "$VKEY" --data /var/lib/stele
  stele restore ./copy --log audit --policy policy.txt --data /var/lib/stele --database postgres://stele@localhost/stele`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return f.run(cmd, args[0])
		},
	}
	f.store.register(cmd)
	f.store.registerRole(cmd)
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

func (f *restoreFlags) run(cmd *cobra.Command, from string) (err error) {
	p, err := f.trust.load()
	if err != nil {
		return err
	}
	if err := f.store.check(); err != nil {
		return err
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
	bar := &progress{w: cmd.ErrOrStderr(), unit: "entries"}
	defer bar.finish()
	restored, err := f.restore(cmd.Context(), restore.Config{
		Copy: tile.FS(os.DirFS(from)), Policy: p, Name: f.log, Keys: keys, Heads: archive,
		Record: engine.RecordOf(f.store.data, f.log), Now: time.Now, Progress: bar.set,
		OpenHeads: func(ctx context.Context, l storage.Log) (storage.Log, error) {
			return engine.OpenHeads(ctx, f.store.data, l)
		},
	})
	bar.finish()
	if err != nil {
		return err
	}
	if err := engine.LeavePlace(f.store.data); err != nil {
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

// readKeys returns the verifiers of the log's signing keys.
func (f *restoreFlags) readKeys() ([]note.Verifier, error) {
	keys, err := engine.KeysOf(f.store.data, f.log)
	if errors.Is(err, fs.ErrNotExist) {
		err = fmt.Errorf("%w\nThe log's signing key must be there: put back the data folder's backup, without stele.db and the files called *.checkpoint. "+
			"Without the key nobody can continue this log; its copy can still be served and checked, and a new log begins under another origin", err)
	}
	return keys, err
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
		fmt.Fprintf(w, "  %s was missing and was created from the copy: before you serve the log,\n"+
			"  make sure that no witness and no reader has seen a newer checkpoint\n", engine.RecordOf(f.store.data, f.log))
	}
	return nil
}
