package main

import (
	"context"
	"fmt"
	"io"
	"iter"
	"os"
	"time"

	"github.com/schollz/progressbar/v3"
	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/stele-log/stele/internal/ingest/cloudtrail"
	"github.com/stele-log/stele/internal/ingest/jsonlines"
	"github.com/stele-log/stele/pkg/client"
)

func newImportCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "import",
		Short: "Import files of records into a log",
		Long: `Import turns each record of some files into an event and appends it, in the order
of the files. Files that end in .gz are read as they are. Importing a file again
adds nothing, so an import that was interrupted can simply be started again.`,
	}
	cmd.AddCommand(newImportCloudTrailCmd(), newImportNDJSONCmd())
	return cmd
}

const importResult = `

In the end it prints how many events were stored, were in the log before
(duplicates) and were refused; with --json as one object, which also has read,
seconds and events_per_second. Why a record was refused is said on standard
error. The exit status is 1 if any was refused.`

func newImportCloudTrailCmd() *cobra.Command {
	var f clientFlags
	cmd := &cobra.Command{
		Use:   "cloudtrail FILE...",
		Short: "Import what AWS CloudTrail has delivered",
		Long: `Import cloudtrail reads files as AWS CloudTrail delivers them, {"Records":[...]},
or records one after the other. A record becomes the data of an event, whose id
is the record's eventID, its type com.amazonaws.<service>.<eventName>, its time
eventTime, its subject the ARN of the user.` + importResult,
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
an event; the flags name the members of the line to take the event's attributes
from, or JSON Pointers such as /user/name.

Without --id-field the id comes from the line's content and from how often it
has occurred before in the files given, so that lines that are the same are all
kept, and a second import of the same files adds nothing. --time-field
understands RFC 3339 and other common formats, and seconds to nanoseconds since
1970.` + importResult,
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
	flags.StringVar(&o.IDField, "id-field", "", "member or JSON Pointer with the event's id (default: from the content)")
	flags.StringVar(&o.TimeField, "time-field", "", "member or JSON Pointer with the event's time (default: when it is stored)")
	flags.StringVar(&o.TypeField, "type-field", "", "member or JSON Pointer with the event's type (default type: "+jsonlines.DefaultType+")")
	flags.StringVar(&o.SubjectField, "subject-field", "", "member or JSON Pointer with the event's subject (default: none)")
	flags.StringVar(&o.Source, "source", "", "source of all events, a URI-reference (default: the sender's name)")
	return cmd
}

// An importSummary is what an import prints in the end.
type importSummary struct {
	Read int `json:"read"`
	tally
	Seconds float64 `json:"seconds"`
	Rate    float64 `json:"events_per_second"`
}

// A reader makes events of the records in a file called name.
type reader func(name string, r io.Reader) iter.Seq2[[]byte, error]

func (f *clientFlags) runImport(cmd *cobra.Command, names []string, read reader) error {
	stderr := cmd.ErrOrStderr()
	size, err := sizeOf(names)
	if err != nil {
		return err
	}
	c, err := f.connect(cmd.Context(), stderr)
	if err != nil {
		return err
	}
	bar := newByteProgress(stderr, size)
	var count tally
	start := time.Now()
	err = send(cmd.Context(), c, readFiles(cmd.Context(), names, read, bar), func(in input, r client.Result) {
		count.add(r)
		if r.Err != nil {
			bar.clear()
			printRefused(stderr, in, r)
		}
	})
	bar.finish()
	seconds := time.Since(start).Seconds()
	s := importSummary{count.total(), count, seconds, float64(count.total()) / seconds}
	if printed := f.printSummary(cmd.OutOrStdout(), s); err == nil {
		err = printed
	}
	if err != nil {
		return fmt.Errorf("the import is not complete, and can be started again: %w", f.explain(err))
	}
	return count.err()
}

func (f *clientFlags) printSummary(w io.Writer, s importSummary) error {
	if f.json {
		return printJSON(w, s)
	}
	_, err := fmt.Fprintf(w, "%d read: %d stored, %d duplicates, %d refused (%.1f s, %.0f events/s)\n",
		s.Read, s.Stored, s.Duplicates, s.Refused, s.Seconds, s.Rate)
	return err
}

// sizeOf returns how many bytes the files have, so that a name that is wrong is
// noticed before anything is sent. It is -1 if that cannot be known.
func sizeOf(names []string) (total int64, err error) {
	for _, name := range names {
		info, err := os.Stat(name)
		switch {
		case err != nil:
			return 0, err
		case info.IsDir():
			return 0, fmt.Errorf("%s is a folder: name the files in it", name)
		case !info.Mode().IsRegular():
			total = -1
		}
		if total >= 0 {
			total += info.Size()
		}
	}
	return total, nil
}

// readFiles reads the files one after the other.
func readFiles(ctx context.Context, names []string, read reader, bar *progress) iter.Seq[input] {
	return func(yield func(input) bool) {
		for _, name := range names {
			file, err := os.Open(name)
			if err != nil {
				if !yield(input{err: err}) {
					return
				}
				continue
			}
			n, more := 0, true
			for event, err := range read(name, countingReader{file, bar}) {
				n++
				if more = ctx.Err() == nil && yield(input{fmt.Sprintf("%s: record %d", name, n), event, err}); !more {
					break
				}
			}
			_ = file.Close()
			if !more {
				return
			}
		}
	}
}

// A countingReader shows how much of the files was read.
type countingReader struct {
	io.Reader
	bar *progress
}

func (r countingReader) Read(p []byte) (int, error) {
	n, err := r.Reader.Read(p)
	r.bar.add(n)
	return n, err
}

// newByteProgress returns a bar on w, if that is a terminal, that counts bytes.
func newByteProgress(w io.Writer, total int64) *progress {
	f, ok := w.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return &progress{}
	}
	return &progress{progressbar.NewOptions64(total,
		progressbar.OptionSetWriter(w),
		progressbar.OptionSetDescription("importing"),
		progressbar.OptionShowBytes(true),
		progressbar.OptionSetPredictTime(true),
		progressbar.OptionThrottle(100*time.Millisecond),
		progressbar.OptionClearOnFinish(),
	)}
}

func (p *progress) add(n int) {
	if p.bar != nil {
		_ = p.bar.Add(n)
	}
}

// clear makes room for a line.
func (p *progress) clear() {
	if p.bar != nil {
		_ = p.bar.Clear()
	}
}
