// Command stele runs an immutable audit log, writes to it, and verifies it.
//
// It wires packages together and has no logic of its own: a file a subcommand,
// which has its flags, a call and what it prints. Files share what is in flags.go,
// trust.go, print.go, progress.go and exit.go, and serve and demo what is in server.go. The root and the groups of
// subcommands name the constructors of theirs.
//
// Exit status: 0 if all went well; 1 if something failed, was refused or does
// not verify; 2 if the command was not understood; 3, of a verifier, if it could not be
// checked.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// A second signal ends what does not end by itself.
	context.AfterFunc(ctx, stop)
	os.Exit(run(ctx))
}

// run runs the command that the arguments name and returns the exit status.
func run(ctx context.Context) int {
	understood := false
	cmd, err := newRoot(&understood).ExecuteContextC(ctx)
	if err == nil {
		return 0
	}
	fmt.Fprintln(os.Stderr, "stele:", oneLine(err))
	if !understood {
		fmt.Fprintf(os.Stderr, "Usage: %s\nRun \"%s --help\" for more.\n", cmd.UseLine(), cmd.CommandPath())
		return exitUsage
	}
	return exitStatus(err)
}

// oneLine returns the text of an error of connecting to PostgreSQL without line breaks:
// it has a line for each address and way that was tried, often the same one twice. The
// lines of other errors are meant to be lines.
func oneLine(err error) string {
	tried := strings.Split(err.Error(), "\n\t")
	return strings.Join(slices.Compact(tried), " ")
}
