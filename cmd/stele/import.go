package main

import (
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
record and the reason. The exit status is 1 if any record was refused.`

func newImportCloudTrailCmd() *cobra.Command {
	var f clientFlags
	cmd := &cobra.Command{
		Use:   "cloudtrail FILE...",
		Short: "Import the files that AWS CloudTrail delivers",
		Long: `Import cloudtrail reads files as AWS CloudTrail delivers them, {"Records":[...]},
or records one after the other. A record becomes the data of an event, whose id
is the record's eventID, its type com.amazonaws.<service>.<eventName>, its time
eventTime, and its subject the user's ARN.` + importResult,
		Example: `  stele import cloudtrail 123456789012_CloudTrail_us-east-1_*.json.gz
  stele import cloudtrail --log aws --json trail.json`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return f.runImport(cmd, args, cloudtrail.Read)
		},
	}
	f.register(cmd)
	f.registerLog(cmd)
	return cmd
}

func newImportNDJSONCmd() *cobra.Command {
	var f clientFlags
	var o jsonlines.Options
	cmd := &cobra.Command{
		Use:   "ndjson FILE...",
		Short: "Import files with a JSON record a line",
		Long: `Import ndjson reads files with one JSON value a line. A line becomes the data of
an event. The event's attributes are taken from members of the line; flags give
their names, or JSON Pointers such as /user/name.

Without --id-field, the id is made from the line's content and a count of its
occurrences in the files given. So identical lines are all kept, and a second import
of the same files adds nothing. --time-field understands RFC 3339 and other common
formats, and seconds to nanoseconds since 1970.` + importResult,
		Example: `  stele import ndjson events.ndjson.gz
  stele import ndjson --type-field kind --time-field /meta/time --source //shop.example.com app-*.ndjson`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			n, err := jsonlines.NewReader(o)
			if err != nil {
				return err
			}
			return f.runImport(cmd, args, n.Events)
		},
	}
	f.register(cmd)
	f.registerLog(cmd)
	flags := cmd.Flags()
	flags.StringVar(&o.IDField, "id-field", "", "member or JSON Pointer with the event's id (default: made from the content)")
	flags.StringVar(&o.TimeField, "time-field", "", "member or JSON Pointer with the event's time (default: when it is stored)")
	flags.StringVar(&o.TypeField, "type-field", "", "member or JSON Pointer with the event's type (default type: "+jsonlines.DefaultType+")")
	flags.StringVar(&o.SubjectField, "subject-field", "", "member or JSON Pointer with the event's subject (default: none)")
	flags.StringVar(&o.Source, "source", "", "source of all events, a URI-reference (default: the sender's name)")
	return cmd
}

func (f *clientFlags) runImport(cmd *cobra.Command, names []string, format ingest.Format) error {
	size, err := ingest.Size(names)
	if err != nil {
		return err
	}
	c, err := f.connect(cmd.Context(), cmd.ErrOrStderr())
	if err != nil {
		return err
	}
	bar := &progress{w: cmd.ErrOrStderr()}
	files := ingest.Files(names, format, func(read uint64) { bar.set("importing", read, size) })
	var tally submit.Tally
	start := time.Now()
	err = submit.All(cmd.Context(), c, files, func(in ingest.Input, r client.Result) {
		tally.Add(r)
		if r.Err != nil {
			bar.clear()
			fmt.Fprintln(cmd.ErrOrStderr(), submit.Reason(in, r))
		}
	})
	bar.finish()
	if printed := f.printSummary(cmd.OutOrStdout(), tally, time.Since(start).Seconds()); err == nil {
		err = printed
	}
	if err != nil {
		return fmt.Errorf("the import is not complete, and can be started again: %w", f.explain(err))
	}
	return tally.Err()
}

// An importSummary is what --json prints of an import.
type importSummary struct {
	Read int `json:"read"`
	submit.Tally
	Seconds float64 `json:"seconds"`
	Rate    float64 `json:"events_per_second"`
}

func (f *clientFlags) printSummary(w io.Writer, t submit.Tally, seconds float64) error {
	rate := float64(t.Total()) / seconds
	if f.json {
		return printJSON(w, importSummary{t.Total(), t, seconds, rate})
	}
	_, err := fmt.Fprintf(w, "%d read: %d stored, %d duplicates, %d refused (%.1f s, %.0f events/s)\n",
		t.Total(), t.Stored, t.Duplicates, t.Refused, seconds, rate)
	return err
}
