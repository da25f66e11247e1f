package main

import (
	"bytes"
	"compress/gzip"
	"context"
	"log/slog"
	"os"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/stele-log/stele/internal/server"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"stele": main})
}

// TestScripts runs what is in testdata/script, each file in a folder of its own.
// Beside stele, scripts have the commands
//
//	serve        start a server with its data in $WORK/data; $STELE_URL is where it is
//	stop         stop it; serve starts it again
//	gzip FILE    compress FILE to FILE.gz
//	status N CMD ARG...
//	             run a command that exits with status N
func TestScripts(t *testing.T) {
	t.Parallel()
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(env *testscript.Env) error {
			env.Values[stopKey{}] = new(func())
			return nil
		},
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"serve":  serveScript,
			"stop":   func(ts *testscript.TestScript, _ bool, _ []string) { stopScript(ts) },
			"gzip":   gzipScript,
			"status": statusScript,
		},
		RequireUniqueNames: true,
	})
}

// stopKey finds the function that stops a script's server, nil if none runs.
type stopKey struct{}

func serveScript(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) > 0 {
		ts.Fatalf("usage: serve")
	}
	f := testFlags(storeFlags{data: ts.MkAbs("data")})
	ctx, cancel := context.WithCancel(context.Background())
	s, release, err := f.start(ctx, slog.New(slog.DiscardHandler))
	ts.Check(err)
	ended := make(chan error, 1)
	go func() {
		err := s.Run(ctx)
		release()
		ended <- err
	}()
	*ts.Value(stopKey{}).(*func()) = func() {
		cancel()
		ts.Check(<-ended)
	}
	ts.Defer(func() { stopScript(ts) })
	ts.Setenv("STELE_URL", s.URL())
}

// testFlags are the flags of a server that tests run in their own process.
func testFlags(store storeFlags) serveFlags {
	return serveFlags{
		storeFlags: store, listen: server.ListenConfig{Address: "127.0.0.1:0"}, interval: minInterval, originPrefix: "log.example",
		cacheMiB: 1, maxLogs: 100, migrateFirst: true, witness: witnessFlags{mode: modeQuorum, timeout: time.Second},
	}
}

func stopScript(ts *testscript.TestScript) {
	stop := ts.Value(stopKey{}).(*func())
	if *stop != nil {
		(*stop)()
		*stop = nil
	}
}

func gzipScript(ts *testscript.TestScript, _ bool, args []string) {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	_, err := z.Write([]byte(ts.ReadFile(args[0])))
	ts.Check(err)
	ts.Check(z.Close())
	ts.Check(os.WriteFile(ts.MkAbs(args[0]+".gz"), b.Bytes(), 0o600))
}

func statusScript(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) < 2 {
		ts.Fatalf("usage: status N CMD ARG...")
	}
	got := "0"
	if err := ts.Exec(args[1], args[2:]...); err != nil {
		got = err.Error()
	}
	if want := args[0]; got != want && got != "exit status "+want {
		ts.Fatalf("%q: %s, want exit status %s", args[1:], got, want)
	}
}

// TestAStoreThatCannotBeOpenedIsNil: a driver's nil pointer in the interface would be
// taken for a store, and closed.
func TestAStoreThatCannotBeOpenedIsNil(t *testing.T) {
	t.Parallel()
	for _, f := range []storeFlags{
		{data: t.TempDir()},
		{data: t.TempDir(), database: "postgres://u@127.0.0.1:1/db"},
	} {
		if s, err := f.open(t.Context()); s != nil || err == nil {
			t.Errorf("opened %+v: %v, error %v", f, s, err)
		}
	}
}
