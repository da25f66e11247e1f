// Command stele runs an immutable audit log, writes to it, and verifies it.
//
// Exit status: 0 if all went well; 1 if something failed, was refused or does
// not verify; 2 if the command was not understood. Where a command has more, it
// says so.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
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
	started := false
	root := newRoot(&started)
	cmd, err := root.ExecuteContextC(ctx)
	if err == nil {
		return 0
	}
	fmt.Fprintln(os.Stderr, "stele:", err)
	if !started {
		fmt.Fprintf(os.Stderr, "Usage: %s\nRun \"%s --help\" for more.\n", cmd.UseLine(), cmd.CommandPath())
		return 2
	}
	if e, ok := errors.AsType[exitError](err); ok {
		return e.status
	}
	return 1
}
