package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"

	"github.com/spf13/cobra"

	"github.com/stele-log/stele/pkg/client"
	"github.com/stele-log/stele/pkg/policy"
	"github.com/stele-log/stele/pkg/tile"
)

// Exit statuses. 0 is success.
const (
	exitFailed    = 1 // something failed or was refused; of a verifier, only that it does not verify
	exitUsage     = 2 // the command was not understood
	exitUnchecked = 3 // of a verifier: it could not be checked
)

// An exitError is an error with an exit status of its own.
type exitError struct {
	error
	status int
}

func (e exitError) Unwrap() error { return e.error }

// exitStatus returns the status to exit with after an error of a command that was
// understood.
func exitStatus(err error) int {
	if e, ok := errors.AsType[exitError](err); ok {
		return e.status
	}
	return exitFailed
}

// A verifier's verdicts, as JSON has them.
const (
	verdictVerified     = "verified"
	verdictContradicted = "contradicted" // or damaged
	verdictUnchecked    = "unchecked"
)

// A failure is what a verifier prints as JSON if it has not verified what it was given.
type failure struct {
	Verdict string `json:"verdict"`
	Reason  string `json:"reason"`
	Advice  string `json:"advice,omitempty"`
}

// verify returns the RunE of a verifier's command, which has three outcomes: run returns
// nil, an error about what was verified, or one that wraps [tile.ErrUnchecked]. An error
// of the second kind is printed after refuted. With asJSON the two are objects as well.
func verify(refuted string, asJSON *bool, run func(*cobra.Command, []string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		err := run(cmd, args)
		if err == nil {
			return nil
		}
		f, status := failure{Verdict: verdictContradicted, Reason: err.Error()}, exitFailed
		if e, ok := errors.AsType[exitError](err); ok {
			f.Verdict, status = verdictUnchecked, e.status
		} else if isUnchecked(err) {
			f.Verdict, f.Advice, status = verdictUnchecked, advice(err), exitUnchecked
		}
		if *asJSON {
			if err := printJSON(cmd.OutOrStdout(), f); err != nil {
				return err
			}
		}
		switch status {
		case exitFailed:
			err = fmt.Errorf("%s: %w", refuted, err)
		case exitUnchecked:
			err = fmt.Errorf("NOT CHECKED: %w", err)
		}
		if f.Advice != "" {
			err = fmt.Errorf("%w\n%s", err, f.Advice)
		}
		return exitError{err, status}
	}
}

func isUnchecked(err error) bool {
	return errors.Is(err, tile.ErrUnchecked) || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
}

// advice returns what can be done about an error that shows nothing, or "".
func advice(err error) string {
	other, unknown := errors.AsType[*policy.UnknownLogError](err)
	_, get := errors.AsType[*url.Error](err)
	_, dial := errors.AsType[*net.OpError](err)
	switch {
	case errors.Is(err, context.Canceled):
		return ""
	case errors.Is(err, errNotALog), errors.Is(err, client.ErrNoLog):
		return "Give the URL of a log, such as http://127.0.0.1:8080/logs/default, or the folder of a copy"
	case unknown && other.Origin != "":
		return "Give the key or the policy of this log, or the place of the log that they are for"
	case get || dial:
		return "See that the server is running and that the URL is right, and try again"
	}
	return ""
}
