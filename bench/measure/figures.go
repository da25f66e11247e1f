package measure

import (
	"math"
	"slices"
	"strconv"
	"strings"
)

// A Range is the median of figures, with the lowest and the highest.
type Range struct {
	Median, Min, Max float64
}

func rangeOf(values []float64) Range {
	sorted := slices.Sorted(slices.Values(values))
	n := len(sorted)
	return Range{(sorted[(n-1)/2] + sorted[n/2]) / 2, sorted[0], sorted[n-1]}
}

// ratios divides figures of the same rounds.
func ratios(subject, baseline []float64) []float64 {
	var all []float64
	for i := range min(len(subject), len(baseline)) {
		all = append(all, subject[i]/baseline[i])
	}
	return all
}

// Quantile returns the value below which the share q of the values lies. It
// sorts them.
func Quantile[T int64 | float64](values []T, q float64) T {
	slices.Sort(values)
	at := int(math.Ceil(q*float64(len(values)))) - 1
	return values[min(max(at, 0), len(values)-1)]
}

// Format prints a figure to three digits, with commas.
func Format(f float64) string {
	if f == 0 || math.IsInf(f, 0) || math.IsNaN(f) {
		return strconv.FormatFloat(f, 'g', -1, 64)
	}
	decimals := max(2-int(math.Floor(math.Log10(math.Abs(f)))), 0)
	if decimals > 0 {
		return strconv.FormatFloat(f, 'f', decimals, 64)
	}
	unit := math.Pow(10, math.Floor(math.Log10(math.Abs(f)))-2)
	digits := strconv.FormatFloat(math.Round(f/unit)*unit, 'f', 0, 64)
	var b strings.Builder
	for i, d := range digits {
		if i > 0 && (len(digits)-i)%3 == 0 {
			b.WriteByte(',')
		}
		b.WriteRune(d)
	}
	return b.String()
}

// String prints the median, and the range where there is one.
func (r Range) String() string {
	if r.Min == r.Max {
		return Format(r.Median)
	}
	return Format(r.Median) + " (" + Format(r.Min) + " to " + Format(r.Max) + ")"
}
