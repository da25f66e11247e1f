package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/stele-log/stele/internal/ingest"
	"github.com/stele-log/stele/internal/ingest/cloudtrail"
	"github.com/stele-log/stele/internal/ingest/jsonlines"
	"github.com/stele-log/stele/internal/ingest/submit"
	"github.com/stele-log/stele/pkg/client"
)

func newImportCmd() *cobra.Command {
	return newGroup(&cobra.Command{
		Use:   "import",
		Short: "Import files of records into a log",
		Long: `Import turns each record of some files into an event and appends it, in the order
of the files. Gzip files need not be unpacked. Importing a file again adds nothing,
so an import that was interrupted can simply be started again.`,
	}, newImportCloudTrailCmd(), newImportNDJSONCmd())
}

const importResult = `

At the end it prints how many events were stored, were already in the log
(duplicates) and were refused; with --json as one object, which also has read,
seconds and events_per_second. Refusals go to standard error, with the place of the
record and the reason. The exit status is 1 if any record was refused.

Entries cannot be changed later: --dry-run shows the first events and the counts, and
sends nothing.`

// importFlags are the flags of all imports.
type importFlags struct {
	clientFlags
	dryRun bool
}

func (f *importFlags) register(cmd *cobra.Command) {
	f.clientFlags.register(cmd)
	f.registerLog(cmd)
	cmd.Flags().BoolVar(&f.dryRun, "dry-run", false, "show the first events and how many there are, and send nothing")
}

func newImportCloudTrailCmd() *cobra.Command {
	var f importFlags
	cmd := &cobra.Command{
		Use:   "cloudtrail FILE...",
		Short: "Import the files that AWS CloudTrail delivers",
		Long: `Import cloudtrail reads files as AWS CloudTrail delivers them, {"Records":[...]},
or records one after the other. A record becomes the data of an event, whose id
is the record's eventID, its type com.amazonaws.<service>.<eventName>, its time
eventTime, and its subject the user's ARN. Each record that has an id and a time is
kept, an Insight too: its type is com.amazonaws.cloudtrail.AwsCloudTrailInsight.` + importResult,
		Example: `  stele import cloudtrail 123456789012_CloudTrail_us-east-1_*.json.gz
  stele import cloudtrail --log aws --json trail.json`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return f.runImport(cmd, args, cloudtrail.Read)
		},
	}
	f.register(cmd)
	return cmd
}

func newImportNDJSONCmd() *cobra.Command {
	var f importFlags
	var o jsonlines.Options
	var zone string
	var allowMissing bool
	cmd := &cobra.Command{
		Use:   "ndjson FILE...",
		Short: "Import files with a JSON record a line",
		Long: `Import ndjson reads files with one JSON value a line. A line becomes the data of
an event. The event's attributes are taken from members of the line; flags give
their names, or JSON Pointers such as /user/name.

Without --id-field, the id is made from the line's content and a count of its
occurrences in the files given. So identical lines are all kept, and a second import
of the same files adds nothing. --time-field understands RFC 3339 and other common
formats, and seconds to nanoseconds since 1970; times without a zone need --time-zone.
A field that no record has stops the import before anything is stored, if the files
can be read twice; --allow-missing lets it pass.` + importResult,
		Example: `  stele import ndjson events.ndjson.gz
  stele import ndjson --dry-run --time-field EventTime --time-zone Europe/Paris app.ndjson
  stele import ndjson --type-field kind --time-field /meta/time --source //shop.example.com app-*.ndjson`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			var err error
			if zone != "" {
				if o.TimeZone, err = ingest.ParseZone(zone); err != nil {
					return fmt.Errorf("--time-zone: %w", err)
				}
			}
			n, err := jsonlines.NewReader(o)
			if err != nil {
				return err
			}
			size, err := ingest.Size(args)
			if err == nil && size > 0 && !allowMissing {
				err = jsonlines.CheckFields(args, o)
			}
			if err != nil {
				return err
			}
			err = f.runImport(cmd, args, n.Events)
			if missing := n.Found(); err == nil && !allowMissing {
				err = missing
			}
			return err
		},
	}
	f.register(cmd)
	flags := cmd.Flags()
	flags.StringVar(&o.IDField, "id-field", "", "member or JSON Pointer with the event's id (default: made from the content)")
	flags.StringVar(&o.TimeField, "time-field", "", "member or JSON Pointer with the event's time (default: when it is stored)")
	flags.StringVar(&zone, "time-zone", "", "zone of times without one, such as UTC, Europe/Paris or +02:00")
	flags.BoolVar(&allowMissing, "allow-missing", false, "import records though none of them has a field that is named")
	flags.StringVar(&o.TypeField, "type-field", "", "member or JSON Pointer with the event's type (default type: "+jsonlines.DefaultType+")")
	flags.StringVar(&o.SubjectField, "subject-field", "", "member or JSON Pointer with the event's subject (default: none)")
	flags.StringVar(&o.Source, "source", "", "source of all events, a URI-reference (default: the sender's name)")
	return cmd
}

func (f *importFlags) runImport(cmd *cobra.Command, names []string, format ingest.Format) error {
	size, err := ingest.Size(names)
	if err != nil {
		return err
	}
	bar := &progress{w: cmd.ErrOrStderr()}
	files := ingest.Files(names, format, func(read uint64) { bar.set("reading", read, size) })
	var tally submit.Tally
	report := func(in ingest.Input, r client.Result) {
		tally.Add(r)
		if r.Err != nil {
			bar.clear()
			fmt.Fprintln(cmd.ErrOrStderr(), submit.Reason(in, r))
		}
	}
	if f.dryRun {
		first := submit.Preview(files, report)
		bar.finish()
		return errors.Join(f.printPreview(cmd.OutOrStdout(), tally, first), tally.Err())
	}
	c, err := f.connect(cmd.Context(), cmd.ErrOrStderr())
	if err != nil {
		return err
	}
	start := time.Now()
	err = submit.All(cmd.Context(), c, files, report)
	bar.finish()
	if printed := f.printSummary(cmd.OutOrStdout(), tally, time.Since(start).Seconds()); err == nil {
		err = printed
	}
	if err != nil {
		return fmt.Errorf("the import is not complete, and can be started again: %w", f.explain(err))
	}
	return tally.Err()
}

// printPreview prints what an import would send.
func (f *importFlags) printPreview(w io.Writer, t submit.Tally, first []json.RawMessage) error {
	if f.json {
		return printJSON(w, struct {
			DryRun  bool              `json:"dry_run"`
			Read    int               `json:"read"`
			Refused int               `json:"refused"`
			First   []json.RawMessage `json:"first"`
		}{true, t.Total(), t.Refused, first})
	}
	for _, e := range first {
		fmt.Fprintf(w, "%s\n", e)
	}
	_, err := fmt.Fprintf(w, "dry run: %d read, %d of them refused; the first %d events are above; nothing was sent\n",
		t.Total(), t.Refused, len(first))
	return err
}

// An importSummary is what --json prints of an import.
type importSummary struct {
	Read int `json:"read"`
	submit.Tally
	Seconds float64 `json:"seconds"`
	Rate    float64 `json:"events_per_second"`
}

func (f *importFlags) printSummary(w io.Writer, t submit.Tally, seconds float64) error {
	rate := float64(t.Total()) / seconds
	if f.json {
		return printJSON(w, importSummary{t.Total(), t, seconds, rate})
	}
	_, err := fmt.Fprintf(w, "%d read: %d stored, %d duplicates, %d refused (%.1f s, %.0f events/s)\n",
		t.Total(), t.Stored, t.Duplicates, t.Refused, seconds, rate)
	return err
}
