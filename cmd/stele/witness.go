package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/stele-log/stele/pkg/checkpoint"
	"github.com/stele-log/stele/pkg/tree"
	"github.com/stele-log/stele/witness"
	"github.com/stele-log/stele/witness/witnessdb"
)

func newWitnessCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "witness",
		Short: "Run a witness, which cosigns the checkpoints of logs",
		Long: `A witness remembers the newest checkpoint of each log it follows, and cosigns
another only if the log's tree has grown out of that one. Who trusts enough
witnesses knows that the log has shown everybody the same history. It speaks
C2SP tlog-witness (https://c2sp.org/tlog-witness), for logs of any make.

  stele witness add-log "$(stele logs show --json | jq -r .vkey)"
  stele witness serve --name witness.example.com/w1

Logs get the verifier keys that serve prints, or vkeys, into their policy:

  witness w1 <verifier key> http://127.0.0.1:8081

Logs can be added, paused and resumed while the witness runs. A witness is worth
most when somebody else than the logs' operator runs it. It must never forget:
do not restore its data from a backup; make a new witness instead.`,
	}
	cmd.AddCommand(newWitnessServeCmd(), newWitnessAddLogCmd(), newWitnessAddListCmd(), newWitnessListCmd(),
		newWitnessPauseCmd(), newWitnessResumeCmd(), newWitnessVKeysCmd())
	return cmd
}

// witnessPlace says where a witness keeps what it keeps.
type witnessPlace struct {
	storeFlags
}

func (p *witnessPlace) register(cmd *cobra.Command) {
	cmd.Flags().StringVar(&p.data, "data", "./stele-witness", "folder for the witness's keys and, without --database, for what it has signed")
	cmd.Flags().StringVar(&p.database, "database", "", "PostgreSQL to keep what the witness has signed in, such as postgres://user@host/db (default: SQLite in the data folder)")
}

func (p *witnessPlace) open(ctx context.Context) (*witnessdb.DB, error) {
	if err := p.check(); err != nil {
		return nil, err
	}
	if err := p.makeDataDir(); err != nil {
		return nil, err
	}
	if p.isPostgres() {
		return witnessdb.OpenPostgres(ctx, p.database)
	}
	return witnessdb.OpenSQLite(ctx, filepath.Join(p.data, "witness.db"))
}

// with runs f with the open database.
func (p *witnessPlace) with(ctx context.Context, f func(*witnessdb.DB) error) error {
	db, err := p.open(ctx)
	if err != nil {
		return err
	}
	return errors.Join(f(db), db.Close())
}

func newWitnessAddLogCmd() *cobra.Command {
	var p witnessPlace
	cmd := &cobra.Command{
		Use:   "add-log VKEY [VKEY...]",
		Short: "Follow logs, given by their verifier keys",
		Long: `Add-log makes the witness follow the logs with these verifier keys, given as they
are or in files. The name of a key is the origin of its log. A log may have
several keys, at once or one after the other: a signature of one of them is
enough. Keys that were added before are left as they are.`,
		Example: `  stele witness add-log log.example.com/audit+5c4b1f3e+ARpc...
  stele witness add-log audit.vkey audit-mldsa44.vkey --data /var/lib/witness`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			origins, keys, err := readLogKeys(args)
			if err != nil {
				return err
			}
			return p.with(cmd.Context(), func(db *witnessdb.DB) error {
				for _, origin := range origins {
					added, err := db.AddKeys(cmd.Context(), origin, keys[origin]...)
					if err != nil {
						return err
					}
					fmt.Fprintf(cmd.OutOrStdout(), "following %s: %d of %d keys are new\n", origin, added, len(keys[origin]))
				}
				return nil
			})
		},
	}
	p.register(cmd)
	return cmd
}

// readLogKeys returns the verifier keys of logs by origin, and the origins in
// their order.
func readLogKeys(args []string) (origins []string, keys map[string][]string, err error) {
	keys = map[string][]string{}
	for _, arg := range args {
		vkey, err := loadKey(arg)
		if err != nil {
			return nil, nil, err
		}
		key, err := checkpoint.NewVerifier(vkey)
		if err != nil {
			return nil, nil, err
		}
		if !slices.Contains(origins, key.Name()) {
			origins = append(origins, key.Name())
		}
		keys[key.Name()] = append(keys[key.Name()], vkey)
	}
	return origins, keys, nil
}

func newWitnessAddListCmd() *cobra.Command {
	var p witnessPlace
	cmd := &cobra.Command{
		Use:   "add-list URL|FILE",
		Short: "Follow the logs of a log list",
		Long: `Add-list makes the witness follow the logs of a list in the format of the witness
network (https://witness-network.org), once; "stele witness serve --log-list"
does so again and again. A list only adds: logs that the witness follows are left
as they are. The number of checkpoints a day that the list allows a log is kept to.`,
		Example: `  stele witness add-list https://testing.witness-network.org/log-list.1`,
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return p.with(cmd.Context(), func(db *witnessdb.DB) error {
				added, skipped, err := addLogList(cmd.Context(), db, args[0])
				for _, origin := range added {
					fmt.Fprintf(cmd.OutOrStdout(), "following %s\n", origin)
				}
				for _, reason := range skipped {
					fmt.Fprintf(cmd.ErrOrStderr(), "skipped %v\n", reason)
				}
				return err
			})
		},
	}
	p.register(cmd)
	return cmd
}

func newWitnessListCmd() *cobra.Command {
	var p witnessPlace
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List the logs that the witness follows",
		Long: `List prints the logs that the witness follows: the size of the newest checkpoint
signed, when it was last signed, whether the log is paused, and its origin. With
--json it prints an object with an array, logs, of objects with origin, vkeys,
size, root, signed_at (if it was), paused, listed (a log list named it) and qpd
(checkpoints a day, if limited).`,
		Example: `  stele witness list
  stele witness list --json | jq -r '.logs[] | select(.paused) | .origin'`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return p.with(cmd.Context(), func(db *witnessdb.DB) error {
				logs, err := db.Logs(cmd.Context())
				if err != nil {
					return err
				}
				if asJSON {
					return printJSON(cmd.OutOrStdout(), map[string][]witnessedLog{"logs": witnessedLogs(logs)})
				}
				return printWitnessed(cmd.OutOrStdout(), logs)
			})
		},
	}
	p.register(cmd)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

// A witnessedLog is a log that a witness follows, as JSON.
type witnessedLog struct {
	Origin   string     `json:"origin"`
	VKeys    []string   `json:"vkeys"`
	Size     uint64     `json:"size"`
	Root     tree.Hash  `json:"root"`
	SignedAt *time.Time `json:"signed_at,omitempty"`
	Paused   bool       `json:"paused"`
	Listed   bool       `json:"listed"`
	QPD      uint64     `json:"qpd,omitempty"`
}

func witnessedLogs(logs []witness.Log) []witnessedLog {
	out := make([]witnessedLog, len(logs))
	for i, l := range logs {
		out[i] = witnessedLog{Origin: l.Origin, VKeys: l.VKeys, Size: l.Size, Root: l.Root,
			Paused: l.Paused, Listed: l.Listed, QPD: l.QPD}
		if !l.SignedAt.IsZero() {
			out[i].SignedAt = &logs[i].SignedAt
		}
	}
	return out
}

func printWitnessed(w io.Writer, logs []witness.Log) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "SIZE\tSIGNED\tSTATE\tORIGIN")
	for _, l := range logs {
		signed, state := "never", "followed"
		if !l.SignedAt.IsZero() {
			signed = l.SignedAt.Format(time.RFC3339)
		}
		if l.Paused {
			state = "paused"
		}
		fmt.Fprintf(t, "%d\t%s\t%s\t%s\n", l.Size, signed, state, l.Origin)
	}
	return t.Flush()
}

func newWitnessPauseCmd() *cobra.Command {
	return newWitnessPausingCmd(true, &cobra.Command{
		Use:   "pause ORIGIN",
		Short: "Sign nothing for a log until it is resumed",
		Long: `Pause makes the witness refuse to sign for a log, from the next request on. What
it has signed stays known: nothing can make a witness forget a log.`,
		Example: `  stele witness pause log.example.com/audit`,
	})
}

func newWitnessResumeCmd() *cobra.Command {
	return newWitnessPausingCmd(false, &cobra.Command{
		Use:     "resume ORIGIN",
		Short:   "Sign again for a log that was paused",
		Example: `  stele witness resume log.example.com/audit`,
	})
}

func newWitnessPausingCmd(paused bool, cmd *cobra.Command) *cobra.Command {
	var p witnessPlace
	cmd.Args = cobra.ExactArgs(1)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return p.with(cmd.Context(), func(db *witnessdb.DB) error {
			err := db.SetPaused(cmd.Context(), args[0], paused)
			if errors.Is(err, witness.ErrUnknownLog) {
				err = fmt.Errorf("the witness does not follow a log of the origin %q; see stele witness list", args[0])
			}
			return err
		})
	}
	p.register(cmd)
	return cmd
}

func newWitnessVKeysCmd() *cobra.Command {
	var p witnessPlace
	cmd := &cobra.Command{
		Use:   "vkeys",
		Short: "Print the witness's verifier keys",
		Long: `Vkeys prints the verifier keys of the witness, one a line: Ed25519, which all logs
understand, and then ML-DSA-44, which withstands quantum computers. They are made
when the witness is first served. Who trusts the witness needs one of them.`,
		Example: `  echo "witness w1 $(stele witness vkeys | head -1) http://127.0.0.1:8081" >> policy.txt`,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ed25519, mldsa44, err := witnessKeyDir(p.data).read()
			if err != nil {
				return err
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), strings.Join([]string{ed25519.VKey(), mldsa44.VKey()}, "\n"))
			return err
		},
	}
	p.register(cmd)
	return cmd
}
