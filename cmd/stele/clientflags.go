package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/stele-log/stele/pkg/client"
)

// clientFlags say which server to talk to, and how to print what it answers.
type clientFlags struct {
	url   string
	log   string
	token string
	json  bool
}

func (f *clientFlags) register(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&f.url, "url", "http://127.0.0.1:8080", "where the server is")
	flags.StringVar(&f.token, "token", "", "bearer token; better set as STELE_TOKEN, since others may see command lines")
	flags.BoolVar(&f.json, "json", false, "print JSON")
}

func (f *clientFlags) registerLog(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.log, "log", defaultLog, "name of the log")
}

// client returns a client that gives up at once.
func (f *clientFlags) client() (*client.Client, error) {
	return client.New(client.Config{URL: f.url, Log: f.log, Token: f.token, RetryFor: -1})
}

// connect returns a client that does not give up soon, and says on stderr that
// it waits, once it has seen that server and log are there.
func (f *clientFlags) connect(ctx context.Context, stderr io.Writer) (*client.Client, error) {
	c, err := f.client()
	if err != nil {
		return nil, err
	}
	if _, err := c.Info(ctx); err != nil {
		return nil, f.explain(err)
	}
	return client.New(client.Config{URL: f.url, Log: f.log, Token: f.token,
		Retrying: func(err error, wait time.Duration) {
			fmt.Fprintf(stderr, "%v; trying again in %v\n", err, wait.Round(time.Millisecond))
		},
	})
}

// explain adds to an error of a client what can be done about it.
func (f *clientFlags) explain(err error) error {
	p, answered := errors.AsType[*client.Problem](err)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, context.Canceled):
		return errors.New("interrupted")
	case errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Errorf("%w\nIs the server running? Start it with \"stele serve\", or say with --url where it is", err)
	case !answered:
		return err
	case p.Status == http.StatusUnauthorized || p.Status == http.StatusForbidden:
		return fmt.Errorf("%w\nGive a token that may do this, as STELE_TOKEN or with --token", err)
	}
	return err
}

// indexArg accepts one argument, the index of an entry.
func indexArg(cmd *cobra.Command, args []string) error {
	if err := cobra.ExactArgs(1)(cmd, args); err != nil {
		return err
	}
	_, err := parseIndex(args[0])
	return err
}

func parseIndex(s string) (uint64, error) {
	index, err := strconv.ParseUint(s, 10, 63)
	if err != nil {
		return 0, fmt.Errorf("index %q is not a number from 0 on", s)
	}
	return index, nil
}

func printJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}
