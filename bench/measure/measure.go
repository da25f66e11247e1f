// Package measure compares contenders that take turns.
//
//	round 1: A B C   round 2: B C A   round 3: C A B   ...
//
// What always holds:
//   - a contender is opened once and keeps what it has over the rounds;
//   - only one contender works at a time, and what it leaves to do is done
//     before the next one's turn, off the clock ([Options.Settle]);
//   - a ratio is that of two turns of one round, so that what slows the machine
//     for a while slows both; what is reported is the median of the rounds'
//     ratios, with the lowest and the highest.
package measure

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// A Turn measures for about d and returns the figure, in the contender's unit.
type Turn func(ctx context.Context, d time.Duration) (float64, error)

// A Contender is one way to do something.
type Contender struct {
	Name string
	Unit string // of its figures
	Open func(ctx context.Context) (Turn, error)
}

// A Row compares a contender with another, or with a figure.
type Row struct {
	What     string
	Subject  string  // name of a contender
	Baseline string  // name of the one it is compared with; empty if Bar is a figure
	Bar      float64 // a ratio, or a figure in the subject's unit; 0 is none
	AtMost   bool    // less is better
}

// A Group is contenders that take turns, and the rows they are measured for.
type Group struct {
	Name       string
	Contenders []Contender
	Rows       []Row

	// Close closes what the contenders have opened.
	Close func()
}

// ErrSkip says that something that a contender needs is not there.
var ErrSkip = errors.New("skipped")

// Options say how to run a Group.
type Options struct {
	Rounds int
	Turn   time.Duration
	Settle func(ctx context.Context) error  // called before each turn
	Log    func(format string, args ...any) // says what goes on
}

// A Result is what was measured in a Group.
type Result struct {
	Group   string
	Figures []Figure
	Rows    []Outcome
	Skipped map[string]string // why, by contender
	Failed  map[string]string
}

// A Figure is what a contender has measured.
type Figure struct {
	Contender string
	Unit      string
	Range
}

// An Outcome is what became of a Row.
type Outcome struct {
	Row
	Value Range // ratio, or the subject's figure if there is no baseline
	Met   bool  // the median is within the bar
}

// Run measures the contenders that the rows name. What goes wrong with one of
// them is in the Result; the others are measured.
func Run(ctx context.Context, g Group, o Options) Result {
	defer g.Close()
	r := Result{Group: g.Name, Skipped: map[string]string{}, Failed: map[string]string{}}
	turns := map[string]Turn{}
	var present []Contender
	for _, c := range g.named() {
		o.Log("%s: opening %s", g.Name, c.Name)
		turn, err := c.Open(ctx)
		if r.note(c, err, o) {
			continue
		}
		turns[c.Name] = turn
		present = append(present, c)
	}
	figures := map[string][]float64{}
	for round := range o.Rounds {
		for i := range present {
			c := present[(round+i)%len(present)]
			if r.out(c.Name) {
				continue
			}
			figure, err := takeTurn(ctx, turns[c.Name], o)
			if r.note(c, err, o) {
				continue
			}
			o.Log("%s: round %d of %d: %s: %s %s", g.Name, round+1, o.Rounds, c.Name, Format(figure), c.Unit)
			figures[c.Name] = append(figures[c.Name], figure)
		}
	}
	for _, c := range present {
		if !r.out(c.Name) {
			r.Figures = append(r.Figures, Figure{c.Name, c.Unit, rangeOf(figures[c.Name])})
		}
	}
	r.rows(g.Rows, figures)
	return r
}

func takeTurn(ctx context.Context, turn Turn, o Options) (float64, error) {
	if err := o.Settle(ctx); err != nil {
		return 0, fmt.Errorf("settle: %w", err)
	}
	return turn(ctx, o.Turn)
}

// note keeps what went wrong with a contender, and reports whether anything did.
func (r *Result) note(c Contender, err error, o Options) bool {
	switch {
	case err == nil:
		return false
	case errors.Is(err, ErrSkip):
		r.Skipped[c.Name] = err.Error()
	default:
		r.Failed[c.Name] = err.Error()
	}
	o.Log("%s: %s: %v", r.Group, c.Name, err)
	return true
}

// out reports whether a contender takes no more turns.
func (r *Result) out(name string) bool { return r.Failed[name] != "" || r.Skipped[name] != "" }

// named returns the contenders that a row names, in order.
func (g Group) named() []Contender {
	names := map[string]bool{}
	for _, row := range g.Rows {
		names[row.Subject], names[row.Baseline] = true, true
	}
	var cs []Contender
	for _, c := range g.Contenders {
		if names[c.Name] {
			cs = append(cs, c)
		}
	}
	return cs
}

// rows fills in those of the rows whose contenders were measured.
func (r *Result) rows(rows []Row, figures map[string][]float64) {
	for _, row := range rows {
		if r.out(row.Subject) || r.out(row.Baseline) {
			continue
		}
		values := figures[row.Subject]
		if row.Baseline != "" {
			values = ratios(values, figures[row.Baseline])
		}
		value := rangeOf(values)
		met := value.Median >= row.Bar
		if row.AtMost {
			met = value.Median <= row.Bar
		}
		r.Rows = append(r.Rows, Outcome{row, value, met})
	}
}
