package main

import "errors"

// Exit statuses. 0 is success.
const (
	exitFailed     = 1 // something failed, was refused or does not verify
	exitUsage      = 2 // the command was not understood
	exitUnfinished = 3 // of audit: it could not be finished
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
