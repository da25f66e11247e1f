package event_test

import (
	"testing"
	"time"

	"github.com/stele-log/stele/pkg/event"
)

func TestMonthsAreAsLongAsTheyAre(t *testing.T) {
	t.Parallel()
	for year := range 10_000 {
		for month := time.January; month <= time.December; month++ {
			want := time.Date(year, month+1, 0, 0, 0, 0, 0, time.UTC).Day()
			if got := event.DaysIn(year, int(month)); got != want {
				t.Fatalf("%v of the year %d has %d days, want %d", month, year, got, want)
			}
		}
	}
}
