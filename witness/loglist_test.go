package witness_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/stele-log/stele/witness"
	"github.com/stele-log/stele/witness/witnessdb"
)

func formatLogList(logs []witness.ListedLog) string {
	var b strings.Builder
	b.WriteString("logs/v0\n")
	for _, l := range logs {
		fmt.Fprintf(&b, "vkey %s\n", l.VKey)
		if name, _, _ := strings.Cut(l.VKey, "+"); name != l.Origin {
			fmt.Fprintf(&b, "origin %s\n", l.Origin)
		}
		fmt.Fprintf(&b, "qpd %d\ncontact %s\n", l.QPD, l.Contact)
	}
	return b.String()
}

func TestParseLogList(t *testing.T) {
	t.Parallel()
	const list = `#
# List: an example
#

  logs/v0

# first
vkey a.example/log+00000001+AQ==
qpd 86400
contact nobody (at) a.example | https://a.example

	vkey b.example/log+00000002+AQ==
origin b
# between the lines
qpd    1
contact #b
`
	got, err := witness.ParseLogList(list)
	want := []witness.ListedLog{
		{"a.example/log+00000001+AQ==", "a.example/log", 86400, "nobody (at) a.example | https://a.example"},
		{"b.example/log+00000002+AQ==", "b", 1, "#b"},
	}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("%+v, %v", got, err)
	}
	if got, err := witness.ParseLogList("logs/v0"); err != nil || len(got) != 0 {
		t.Errorf("a list without logs is %+v, %v", got, err)
	}
}

func TestParseLogListRefuses(t *testing.T) {
	t.Parallel()
	const good = "vkey a+00000001+AQ==\nqpd 5\ncontact c\n"
	for list, want := range map[string]string{
		"":                                   "there is no header",
		"# nothing\n":                        "there is no header",
		good:                                 "line 1",
		"logs/v1\n" + good:                   "line 1",
		"logs/v0\nlogs/v0\n":                 "line 2",
		"logs/v0\nbastion none\n":            "line 2: \"bastion\" is not a keyword",
		"logs/v0\nqpd 5\n":                   "line 2: qpd after logs/v0",
		"logs/v0\nvkey\n":                    "line 2: vkey has no value",
		"logs/v0\nvkey a\ncontact c\n":       "line 3: contact after vkey",
		"logs/v0\nvkey a\nqpd 5\norigin a\n": "line 4: origin after qpd",
		"logs/v0\nvkey a\nqpd 0\n":           "1 to 2^31-1",
		"logs/v0\nvkey a\nqpd 2147483648\n":  "1 to 2^31-1",
		"logs/v0\nvkey a\nqpd 1.5\n":         "1 to 2^31-1",
		"logs/v0\nvkey a\nqpd 5\n":           "at the end: the last log is not complete",
		"logs/v0\n" + good + good:            "line 7: the origin \"a\" is listed twice",
		"logs/v0\nvkey \xff\n":               "not UTF-8",
	} {
		if logs, err := witness.ParseLogList(list); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, %v; want %q", list, logs, err, want)
		}
	}
}

func TestLogListOnlyAdds(t *testing.T) {
	onEachDatabase(t, func(t *testing.T, open func() *witnessdb.DB) {
		db := open()
		mine, listed, stranger := newSigningLog(t, "mine.example"), newSigningLog(t, "listed.example"), newSigningLog(t, "mine.example")
		addKeys(t, db, mine)
		list := []witness.ListedLog{
			{VKey: stranger.vkeys[0], Origin: "mine.example", QPD: 1},
			{VKey: listed.vkeys[0], Origin: "listed.example", QPD: 24},
			{VKey: "a.example+00000001+AQ==", Origin: "a.example", QPD: 1},
			{VKey: newSigningLog(t, "name.example").vkeys[0], Origin: "origin.example", QPD: 1},
		}
		added, skipped, err := witness.AddLogList(t.Context(), db, list)
		if err != nil || !slices.Equal(added, []string{"listed.example"}) || len(skipped) != 2 {
			t.Fatalf("added %v, skipped %v, %v", added, skipped, err)
		}
		list[1].QPD, list[1].VKey = 2, newSigningLog(t, "listed.example").vkeys[0]
		for _, again := range [][]witness.ListedLog{list, nil} {
			if added, _, err := witness.AddLogList(t.Context(), db, again); err != nil || len(added) > 0 {
				t.Errorf("added %v, %v", added, err)
			}
		}
		logs, err := db.Logs(t.Context())
		if err != nil || len(logs) != 2 {
			t.Fatalf("%+v, %v", logs, err)
		}
		if l := logs[0]; l.Origin != "listed.example" || !l.Listed || l.QPD != 24 || !slices.Equal(l.VKeys, listed.vkeys[:1]) {
			t.Errorf("the listed log is %+v", l)
		}
		if l := logs[1]; l.Listed || l.QPD != 0 || !slices.Equal(l.VKeys, mine.vkeys) {
			t.Errorf("the configured log is %+v", l)
		}
	})
}
