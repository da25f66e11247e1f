package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/stele-log/stele/internal/server"
	"github.com/stele-log/stele/pkg/client"
	"github.com/stele-log/stele/pkg/policy"
	"github.com/stele-log/stele/pkg/proof"
	"github.com/stele-log/stele/pkg/tile"
)

func newDemoCmd() *cobra.Command {
	f := serveFlags{logFlags: logFlags{level: slog.LevelWarn}}
	var events int
	var rate float64
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Run a server with a made-up stream of events, and verify each receipt",
		Long: `Demo runs a server and, as an application would, sends it made-up events. For each
event it waits for a receipt and verifies it with nothing but the log's key. While
it runs, try the commands that it prints. Ctrl-C ends it; then the whole log is
checked once more.

Without --data, everything is kept in a temporary folder and removed at the end.`,
		Example: `  stele demo
  stele demo --events 100 --rate 50
  stele demo --data ./demo-data --listen 127.0.0.1:9000`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if rate <= 0 || events < 0 {
				return errors.New("--rate must be more than 0, --events not negative")
			}
			if !cmd.Flags().Changed("data") {
				dir, err := os.MkdirTemp("", "stele-demo-")
				if err != nil {
					return err
				}
				defer os.RemoveAll(dir)
				f.data = dir
			}
			f.originPrefix = cmp.Or(f.originPrefix, "localhost/demo")
			return runDemo(cmd.Context(), f, demo{out: cmd.OutOrStdout(), rate: rate, left: events}, cmd.ErrOrStderr())
		},
	}
	f.register(cmd)
	cmd.Flags().Lookup("data").Usage = "folder to keep everything in (default: a temporary one)"
	cmd.Flags().Lookup("data").DefValue = ""
	cmd.Flags().IntVar(&events, "events", 0, "number of events to send (default: continue until Ctrl-C)")
	cmd.Flags().Float64Var(&rate, "rate", 3, "approximate number of events a second")
	return cmd
}

// A demo sends events to a log and verifies their receipts.
type demo struct {
	out  io.Writer
	rate float64 // events a second
	left int     // events to send; 0 is no end

	client *client.Client
	policy *policy.Policy
	proven int
}

func runDemo(ctx context.Context, f serveFlags, d demo, stderr io.Writer) error {
	logger, err := f.logger(stderr)
	if err != nil {
		return err
	}
	s, release, err := f.start(ctx, logger)
	if err != nil {
		return err
	}
	defer release()
	// The server outlives the demo's own requests.
	serving, stop := context.WithCancel(context.WithoutCancel(ctx))
	served := make(chan error, 1)
	go func() { served <- s.Run(serving) }()
	f.printReady(d.out, s.URL())
	err = d.run(ctx, s)
	stop()
	return errors.Join(err, <-served)
}

func (d *demo) run(ctx context.Context, s *server.Server) error {
	c, err := client.New(client.Config{URL: s.URL(), Log: defaultLog})
	if err != nil {
		return err
	}
	info, err := c.Info(ctx)
	if err != nil {
		return err
	}
	if d.policy, err = policy.ForLog(info.VKey); err != nil {
		return err
	}
	d.client = c.WithReceipts()
	fmt.Fprintf(d.out, `
The log is %s; this is its key, which is all that a verifier needs:
  %s

While it runs, try from another terminal:
  curl %s/checkpoint
  curl --json '{"type":"hello"}' '%s/events?wait=published'
  go run ./cmd/stele check %s --key '%s'

`, info.Origin, info.VKey, c.Prefix(), c.Prefix(), c.Prefix(), info.VKey)
	if err := d.stream(ctx); err != nil && ctx.Err() == nil {
		return err
	}
	return d.checkAll(context.WithoutCancel(ctx))
}

// stream sends events one by one until there are enough, or the context ends.
func (d *demo) stream(ctx context.Context) error {
	for n := 0; d.left == 0 || n < d.left; n++ {
		if err := d.one(ctx, madeUp()); err != nil {
			return err
		}
		pause := time.Duration((0.5 + rand.Float64()) / d.rate * float64(time.Second))
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// one sends an event and verifies its receipt.
func (d *demo) one(ctx context.Context, e client.Event) error {
	start := time.Now()
	results, err := d.client.Append(ctx, e)
	if err != nil {
		return err
	}
	res := results[0]
	if res.Receipt == nil {
		return fmt.Errorf("event %d: %s", res.Index, res.Pending)
	}
	elapsed := time.Since(start)
	entry, err := d.client.Entry(ctx, res.Index)
	if err != nil {
		return err
	}
	receipt, err := proof.ParseReceipt(res.Receipt)
	if err != nil {
		return err
	}
	verdict, err := receipt.Verify(entry, d.policy)
	if err != nil {
		return err
	}
	d.proven++
	_, err = fmt.Fprintf(d.out, "%6d  %-28s %-16s proven in a tree of %d, %5.1f ms\n",
		res.Index, e.Type, e.Subject, verdict.Size, float64(elapsed.Microseconds())/1000)
	return err
}

// checkAll reads the log back and checks it whole.
func (d *demo) checkAll(ctx context.Context) error {
	report, err := client.Check(ctx, tile.HTTP(nil, d.client.Prefix()), d.policy, client.CheckOptions{})
	if err != nil {
		return fmt.Errorf("the log is NOT whole: %w", err)
	}
	_, err = fmt.Fprintf(d.out, "\n%d receipts verified; the log of %d entries is whole, root %s\n",
		d.proven, report.Head.Size, report.Root)
	return err
}

// madeUp returns an event as a small shop might report.
func madeUp() client.Event {
	kinds := []struct {
		typ, subject string
		data         map[string]any
	}{
		{"com.example.order.placed", "order", map[string]any{"items": 1 + rand.IntN(9), "currency": "EUR"}},
		{"com.example.payment.captured", "payment", map[string]any{"amount": float64(rand.IntN(50000)) / 100, "method": "card"}},
		{"com.example.document.viewed", "document", map[string]any{"pages": 1 + rand.IntN(40), "via": "web"}},
		{"com.example.role.granted", "account", map[string]any{"role": "auditor", "by": "admin-console"}},
		{"com.example.login.failed", "account", map[string]any{"reason": "wrong password", "attempt": 1 + rand.IntN(3)}},
		{"com.example.export.started", "export", map[string]any{"rows": rand.IntN(100000), "format": "csv"}},
	}
	kind := kinds[rand.IntN(len(kinds))]
	return client.Event{
		Source: "//shop.example.com/till/" + fmt.Sprint(1+rand.IntN(4)), Type: kind.typ,
		Subject: fmt.Sprintf("%s/%d", kind.subject, 1000+rand.IntN(9000)), Data: kind.data,
	}
}
