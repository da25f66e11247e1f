package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stele-log/stele/internal/test/pgtest"
	"github.com/stele-log/stele/pkg/client"
	"github.com/stele-log/stele/pkg/policy"
	"github.com/stele-log/stele/pkg/tile"
	"github.com/stele-log/stele/pkg/tree"
)

// realEvents is how many there are in the folder that STELE_TEST_DATA names:
// CloudTrail records in cloudtrail/*.json, and Windows events, a line each, in
// windows-events.ndjson.gz.
const (
	cloudTrailRecords = 2900
	windowsEvents     = 40569
)

// TestRealEvents imports real events into a log on SQLite and one on PostgreSQL,
// with the clock held still, checks both logs, compares their leaf hashes, and
// verifies receipts once the servers are gone.
func TestRealEvents(t *testing.T) {
	t.Parallel()
	data := os.Getenv("STELE_TEST_DATA")
	if data == "" {
		t.Skip("STELE_TEST_DATA is not set: it names a folder with cloudtrail/*.json and windows-events.ndjson.gz")
	}
	onSQLite := importReal(t, data, storeFlags{data: filepath.Join(t.TempDir(), "data")})
	onPostgres := importReal(t, data, storeFlags{data: filepath.Join(t.TempDir(), "data"), database: pgtest.Empty(t)})
	if !slices.Equal(onSQLite, onPostgres) {
		t.Error("the logs on SQLite and on PostgreSQL have other leaf hashes")
	}
}

// importReal imports the data into a new log and returns its leaf hashes.
func importReal(t *testing.T, data string, store storeFlags) []tree.Hash {
	t.Helper()
	f := testFlags(store)
	f.now = func() time.Time { return time.Date(2026, 11, 21, 9, 42, 0, 0, time.UTC) }
	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	defer stop()
	s, release, err := f.start(ctx, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() {
		err := s.Run(ctx)
		release()
		ended <- err
	}()
	c, err := client.New(client.Config{URL: s.URL()})
	if err != nil {
		t.Fatal(err)
	}
	info, err := c.Info(t.Context())
	if err != nil {
		t.Fatal(err)
	}

	records, err := filepath.Glob(filepath.Join(data, "cloudtrail", "*.json"))
	if err != nil {
		t.Fatal(err)
	}
	windows := []string{"import", "ndjson", filepath.Join(data, "windows-events.ndjson.gz"), "--url", s.URL(),
		"--source", "//theshire.local/windows", "--time-field", "@timestamp", "--type-field", "Channel", "--subject-field", "Hostname"}
	cloudTrail := append([]string{"import", "cloudtrail", "--url", s.URL()}, records...)
	wantOutput(t, fmt.Sprintf("%d stored, 0 duplicates, 0 refused", cloudTrailRecords), cloudTrail...)
	wantOutput(t, fmt.Sprintf("%d stored, 0 duplicates, 0 refused", windowsEvents), windows...)
	wantOutput(t, fmt.Sprintf("0 stored, %d duplicates, 0 refused", cloudTrailRecords), cloudTrail...)
	wantOutput(t, fmt.Sprintf("0 stored, %d duplicates, 0 refused", windowsEvents), windows...)

	const last = cloudTrailRecords + windowsEvents - 1
	if _, err := c.Receipt(t.Context(), last, true); err != nil {
		t.Fatal(err)
	}
	wantOutput(t, fmt.Sprintf("has %d entries", last+1), "check", c.Prefix(), "--key", info.VKey)
	dir := saveReceipts(t, c, last)
	leaves := readLeaves(t, c, info.VKey)
	stop()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	for i := range 10 {
		wantOutput(t, "verified: entry", "verify", "receipt", filepath.Join(dir, fmt.Sprint(i, ".tlog-proof")),
			"--event", filepath.Join(dir, fmt.Sprint(i, ".json")), "--key", info.VKey)
	}
	return leaves
}

// wantOutput runs the command, which must succeed and print something with want.
func wantOutput(t *testing.T, want string, args ...string) {
	t.Helper()
	out, err := exec.Command("stele", args...).CombinedOutput()
	if err != nil || !strings.Contains(string(out), want) {
		t.Fatalf("stele %.200s: %v, want it to print %q\n%s", strings.Join(args, " "), err, want, out)
	}
	t.Logf("%s", out)
}

// saveReceipts saves ten entries, spread over the log, and their receipts, and
// returns the folder.
func saveReceipts(t *testing.T, c *client.Client, last uint64) string {
	t.Helper()
	dir := t.TempDir()
	for i := range uint64(10) {
		index := last * i / 9
		entry, err := c.Entry(t.Context(), index)
		if err != nil {
			t.Fatal(err)
		}
		receipt, err := c.Receipt(t.Context(), index, false)
		if err != nil {
			t.Fatal(err)
		}
		for name, content := range map[string][]byte{".json": entry, ".tlog-proof": receipt} {
			if err := os.WriteFile(filepath.Join(dir, fmt.Sprint(i, name)), content, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	return dir
}

// readLeaves reads the log back, verified, and returns its leaf hashes.
func readLeaves(t *testing.T, c *client.Client, vkey string) []tree.Hash {
	t.Helper()
	p, err := policy.ForLog(vkey)
	if err != nil {
		t.Fatal(err)
	}
	r := tile.HTTP(nil, c.Prefix())
	result, err := client.ReadHead(t.Context(), r, p)
	if err != nil {
		t.Fatal(err)
	}
	var leaves []tree.Hash
	for e, err := range client.ReadEntries(t.Context(), r, result.Head, 0, result.Head.Size) {
		if err != nil {
			t.Fatal(err)
		}
		leaves = append(leaves, tree.LeafHash(e.Data))
	}
	return leaves
}
