package main_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stele-log/stele/pkg/client"
)

func TestExportedHeadsVerifyOffline(t *testing.T) {
	t.Parallel()
	s := serve(t)
	key := fill(t, s) // checkpoints of the sizes 0, 256, 512, 768 and 900
	c := newClient(t, s)
	between := time.Now().UTC()
	if _, err := c.WithReceipts().Append(t.Context(), client.Event{Type: "later"}); err != nil {
		t.Fatal(err)
	}
	cases := []struct {
		name  string
		flags []string
		sizes []uint64 // of the first and the last
		count uint64
	}{
		{"all", nil, []uint64{0, 901}, 6},
		{"sizes", []string{"--from", "300", "--to", "768"}, []uint64{256, 768}, 3},
		{"from a time", []string{"--from", between.Format(time.RFC3339Nano)}, []uint64{900, 901}, 2},
		{"to a time", []string{"--to", between.Format(time.RFC3339Nano)}, []uint64{0, 900}, 5},
		{"from a day", []string{"--from", between.AddDate(0, 0, -1).Format(time.DateOnly)}, []uint64{0, 901}, 6},
	}
	for _, test := range cases {
		file := filepath.Join(t.TempDir(), "heads")
		run(t, 0, append([]string{"export", "heads", c.Prefix(), "--key", key, "-o", file}, test.flags...)...)
		out, _ := run(t, 0, "verify", "heads", file, "--key", key, "--json")
		var got struct {
			Checkpoints uint64
			First, Last struct{ Size uint64 }
		}
		if err := json.Unmarshal([]byte(out), &got); err != nil || got.Checkpoints != test.count ||
			got.First.Size != test.sizes[0] || got.Last.Size != test.sizes[1] {
			t.Errorf("%s: verified is %s, %v; want %d checkpoints of sizes %d", test.name, out, err, test.count, test.sizes)
		}
		printed, _ := run(t, 0, append([]string{"export", "heads", c.Prefix(), "--key", key}, test.flags...)...)
		if b, err := os.ReadFile(file); err != nil || string(b) != printed {
			t.Errorf("%s: the file is not what is printed (%v)", test.name, err)
		}
	}
}

func TestExportAndVerifyHeadsSayWhatIsWrong(t *testing.T) {
	t.Parallel()
	s := serve(t)
	key := fill(t, s)
	prefix := s.url + "/logs/default"
	file := filepath.Join(t.TempDir(), "heads")
	for _, test := range []struct {
		status      int
		flags, want string
	}{
		{2, "--from yesterday", `--from "yesterday" is not a size`},
		{3, "--from 901", "no checkpoint in this period"},
		{3, "--from 2999-01-01", "no checkpoint in this period"},
		{3, "--from 300 --to 400", "no checkpoint in this period"},
		{3, "--to 2020-01-01", "no checkpoint in this period"},
	} {
		_, stderr := run(t, test.status, append([]string{"export", "heads", prefix, "--key", key, "-o", file}, strings.Fields(test.flags)...)...)
		if !strings.Contains(stderr, test.want) {
			t.Errorf("%s: it says %q, want %q", test.flags, stderr, test.want)
		}
		if _, err := os.Stat(file); err == nil {
			t.Errorf("%s: it has written a file", test.flags)
		}
	}
	run(t, 0, "export", "heads", prefix, "--key", key, "-o", file)
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(strings.Replace(string(text), "\n512\n", "\n513\n", 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, stderr := run(t, 1, "verify", "heads", file, "--key", key); !strings.Contains(stderr, "NOT verified: checkpoint 2") {
		t.Errorf("verify says %q of a changed archive", stderr)
	}
	if _, stderr := run(t, 2, "verify", "heads", file); !strings.Contains(stderr, "say whom to trust") {
		t.Errorf("verify says %q without a key", stderr)
	}
}
