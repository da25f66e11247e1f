package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"regexp"
	"syscall"
	"time"

	"github.com/stele-log/stele/bench/measure"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	err := run(ctx, os.Args[1:])
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	if len(args) > 0 && (args[0] == serveEmpty || args[0] == serveTessera) {
		return serve(ctx, args)
	}
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	l := &lab{data: os.Getenv("STELE_TEST_DATA")}
	o := measure.Options{Settle: l.settle, Log: func(f string, a ...any) { fmt.Fprintf(os.Stderr, f+"\n", a...) }}
	only := regexp.MustCompile("")
	flags.IntVar(&o.Rounds, "rounds", 5, "")
	flags.DurationVar(&o.Turn, "turn", 3*time.Second, "")
	flags.StringVar(&l.cluster, "postgres", os.Getenv("STELE_TEST_POSTGRES"), "")
	flags.StringVar(&l.stele, "stele", "", "")
	flags.TextVar(only, "run", only, "")
	if err := flags.Parse(args); err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "stele-bench")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	l.dir = dir
	for _, g := range []measure.Group{appendGroup(l), singleGroup(l), latencyGroup(l)} {
		var rows []measure.Row
		for _, r := range g.Rows {
			if only.MatchString(r.What) {
				rows = append(rows, r)
			}
		}
		g.Rows = rows
		if len(rows) == 0 {
			continue
		}
		r := measure.Run(ctx, g, o)
		for _, row := range r.Rows {
			fmt.Println(row.What, row.Value)
		}
	}
	return nil
}
