// Package report writes what was measured as a page of Markdown, and as JSON.
package report

import (
	_ "embed"
	"io"
	"strings"
	"text/template"
	"time"

	"github.com/stele-log/stele/bench/measure"
)

// A Report is one run.
type Report struct {
	Machine  []Fact
	Versions []Fact
	Settings []Fact // of PostgreSQL
	Rounds   int
	Turn     time.Duration
	Results  []measure.Result
}

// A Fact is something about where a run took place.
type Fact struct{ Name, Value string }

//go:embed performance.md.tmpl
var page string

// Markdown writes the report for people.
func (r Report) Markdown(w io.Writer) error {
	return template.Must(template.New("performance.md").Parse(page)).Execute(w, r)
}

// A Line is a row of a table: an outcome with the figures it is made of.
type Line struct {
	measure.Outcome
	Figure, Against string // medians; empty if there is none
	unit            string
}

// Bars returns the rows that have a bar.
func (r Report) Bars() []Line { return r.lines(func(o measure.Outcome) bool { return o.Bar != 0 }) }

// Others returns the rows that have none.
func (r Report) Others() []Line { return r.lines(func(o measure.Outcome) bool { return o.Bar == 0 }) }

// Missed returns how many bars are missed.
func (r Report) Missed() (n int) {
	for _, line := range r.Bars() {
		if !line.Met {
			n++
		}
	}
	return n
}

func (r Report) lines(wanted func(measure.Outcome) bool) []Line {
	var lines []Line
	for _, result := range r.Results {
		figures, units := map[string]string{}, map[string]string{}
		for _, f := range result.Figures {
			figures[f.Contender], units[f.Contender] = measure.Format(f.Median)+" "+f.Unit, f.Unit
		}
		for _, o := range result.Rows {
			if wanted(o) {
				lines = append(lines, newLine(o, figures, units))
			}
		}
	}
	return lines
}

func newLine(o measure.Outcome, figures, units map[string]string) Line {
	l := Line{o, figures[o.Subject], figures[o.Baseline], units[o.Subject]}
	if o.Baseline == "" {
		l.Figure = o.Value.String() + " " + l.unit
	}
	return l
}

// Wanted says what the bar asks for.
func (l Line) Wanted() string {
	words, unit := "at least ", " x"
	if l.AtMost {
		words = "at most "
	}
	if l.Baseline == "" {
		unit = " " + l.unit
	}
	bar := measure.Format(l.Bar)
	if strings.Contains(bar, ".") {
		bar = strings.TrimRight(strings.TrimRight(bar, "0"), ".")
	}
	return words + bar + unit
}

// Ratio is the line's ratio, if it has one.
func (l Line) Ratio() string {
	if l.Baseline == "" {
		return ""
	}
	return l.Value.String()
}

// Verdict says whether the bar is met.
func (l Line) Verdict() string {
	if l.Met {
		return "met"
	}
	return "**missed**"
}
