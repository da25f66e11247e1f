package client_test

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/stele-log/stele/pkg/client"
	"github.com/stele-log/stele/pkg/policy"
	"github.com/stele-log/stele/pkg/tile"
)

// Append an event, and write an application's own log to the same log.
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

		handler := client.NewHandler(client.HandlerConfig{Client: c})
		defer handler.Close(ctx) // sends what is queued
		audit := slog.New(handler)
		audit.Info("role granted", "account", "account/17", "role", "auditor")
		return nil
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
