package client_test

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/stele-log/stele/pkg/client"
	"github.com/stele-log/stele/pkg/policy"
	"github.com/stele-log/stele/pkg/tile"
)

// Append an event.
func ExampleClient_Append() {
	run := func(ctx context.Context) error {
		c, err := client.New(client.Config{URL: "http://127.0.0.1:8080"})
		if err != nil {
			return err
		}
		results, err := c.Append(ctx, client.Event{Type: "invoice.paid", Data: map[string]any{"invoice": 829341}})
		if err != nil {
			return err // ErrRefused if the event is wrong; what may pass was tried again for a minute
		}
		fmt.Println("stored at", results[0].Index)
		return nil
	}
	_ = run
}

// Write an application's own log to a log. Records are queued: Close sends the last
// ones, and has a time of its own for it, since a signal may have ended the program's
// context.
func ExampleHandler() {
	run := func(c *client.Client) {
		handler := client.NewHandler(client.HandlerConfig{Client: c})
		defer func() {
			ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
			defer cancel()
			if err := handler.Close(ctx); err != nil {
				fmt.Fprintln(os.Stderr, err) // records were lost
			}
		}()
		audit := slog.New(handler)
		audit.Info("role granted", "account", "account/17", "role", "auditor")
	}
	_ = run
}

// Read a log back, each entry proven to be in the tree that the checkpoint
// signs.
func ExampleReadEntries() {
	run := func(ctx context.Context, prefix, vkey string) error {
		p, err := policy.ForLog(vkey)
		if err != nil {
			return err
		}
		r := tile.HTTP(nil, prefix)
		result, err := client.ReadHead(ctx, r, p)
		if err != nil {
			return err
		}
		for entry, err := range client.ReadEntries(ctx, r, result.Head, 0, result.Head.Size) {
			if err != nil {
				return err
			}
			fmt.Printf("%d %s\n", entry.Index, entry.Data)
		}
		return nil
	}
	_ = run
}
