package report_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stele-log/stele/bench/measure"
	"github.com/stele-log/stele/bench/report"
)

func TestMarkdown(t *testing.T) {
	t.Parallel()
	same := func(f float64) measure.Range { return measure.Range{Median: f, Min: f, Max: f} }
	r := report.Report{Rounds: 5, Turn: 3 * time.Second, Results: []measure.Result{{
		Group:   "g",
		Figures: []measure.Figure{{Contender: "stele", Unit: "events/s", Range: same(300)}, {Contender: "peer", Unit: "events/s", Range: same(100)}},
		Rows: []measure.Outcome{
			{Row: measure.Row{What: "against", Subject: "stele", Baseline: "peer", Bar: 3.5}, Value: measure.Range{Median: 3, Min: 2, Max: 4}},
			{Row: measure.Row{What: "alone", Subject: "stele", Bar: 400, AtMost: true}, Value: same(300), Met: true},
			{Row: measure.Row{What: "beside", Subject: "stele", Baseline: "peer"}, Value: same(3), Met: true},
		},
		Failed: map[string]string{"other": "it broke"},
	}}}
	var b strings.Builder
	if err := r.Markdown(&b); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"1 of the bars below is missed",
		"| against | 300 events/s | 100 events/s | 3.00 (2.00 to 4.00) | at least 3.5 x | **missed** |",
		"| alone | 300 events/s |  |  | at most 400 events/s | met |",
		"| beside | 300 events/s | 100 events/s | 3.00 |",
		"| g: peer | 100 | events/s |",
		"**Failed** (g): other: it broke",
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("no %q in\n%s", want, b.String())
		}
	}
}
