package ingest

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
	_ "time/tzdata" // Windows and empty containers have no zones of their own

	"github.com/go-json-experiment/json/jsontext"

	"github.com/stele-log/stele/pkg/event"
)

// The formats of times that are not RFC 3339, beside the numbers. All take a fraction
// after the seconds.
var (
	zonedLayouts = [...]string{
		"2006-01-02 15:04:05Z07:00",
		"2006-01-02 15:04:05 Z07:00",
		"2006-01-02 15:04:05 -0700",
		"2006-01-02T15:04:05-0700",
		"2006-01-02 15:04:05 MST",
		"02/Jan/2006:15:04:05 -0700", // Apache, nginx: common log format
		"Mon Jan _2 15:04:05 MST 2006",
		"Mon Jan 02 15:04:05 -0700 2006",
		time.RFC1123,
		time.RFC1123Z,
	}
	localLayouts = [...]string{
		"2006-01-02 15:04:05",
		"2006-01-02T15:04:05",
		"2006/01/02 15:04:05",
		"Mon Jan _2 15:04:05 2006", // Apache error log; ANSI C
		"Jan _2 2006 15:04:05",     // syslog with a year
		"Jan _2 15:04:05 2006",
	}
)

// ErrNoZone is the error for a time that has no zone, where none is given for such
// times.
var ErrNoZone = errors.New("it has no zone; --time-zone gives one to such times, for example UTC or Europe/Paris")

// ParseZone returns the time zone of a name in the IANA database, such as
// Europe/Paris, or of an offset such as +02:00.
func ParseZone(s string) (*time.Location, error) {
	if t, err := time.Parse("Z07:00", s); err == nil {
		_, offset := t.Zone()
		return time.FixedZone(s, offset), nil
	}
	zone, err := time.LoadLocation(s)
	if err != nil || s == "" || zone == time.Local {
		return nil, fmt.Errorf("%q is not a time zone: give one such as UTC, Europe/Paris or +02:00", s)
	}
	return zone, nil
}

// ParseTime returns the time that a JSON string or number means, as RFC 3339: in
// UTC, unless it is one that an event may have and time.Time has not, such as a leap
// second. A time without a zone is one of the given zone, if that is not nil. An hour
// that the zone has twice is taken for the first of the two.
func ParseTime(v jsontext.Value, zone *time.Location) (string, error) {
	text := string(v)
	switch v.Kind() {
	case jsontext.KindString:
		b, err := jsontext.AppendUnquote(nil, v)
		if err != nil {
			return "", err
		}
		text = strings.TrimSpace(string(b))
	case jsontext.KindNumber:
	default:
		return "", fmt.Errorf("time %.60s is neither a string nor a number", v)
	}
	t, err := parseTime(text, zone)
	if err != nil && event.IsTime(text) {
		return text, nil
	}
	return t.UTC().Format(time.RFC3339Nano), err
}

func parseTime(s string, zone *time.Location) (time.Time, error) {
	if t, err := time.Parse(time.RFC3339Nano, s); err == nil {
		return t, nil
	}
	if t, ok := parseEpoch(s); ok {
		return t, nil
	}
	for _, layout := range localLayouts {
		if wall, err := time.ParseInLocation(layout, s, time.UTC); err == nil {
			t, err := inZone(wall, zone)
			if err != nil {
				return t, fmt.Errorf("time %.60q: %w", s, err)
			}
			return t, nil
		}
	}
	for _, layout := range zonedLayouts {
		// Not time.Parse: that asks the machine what a zone's name means.
		t, err := time.ParseInLocation(layout, s, time.UTC)
		if err != nil {
			continue
		}
		if zone, offset := t.Zone(); offset == 0 && zone != "UTC" && zone != "GMT" && zone != "" {
			return t, fmt.Errorf("time %.60q: zone %s has several meanings; an offset like +01:00 has one", s, zone)
		}
		return t, nil
	}
	if _, err := time.Parse("Jan _2 15:04:05", s); err == nil {
		return time.Time{}, fmt.Errorf("time %.60q has no year", s)
	}
	return time.Time{}, fmt.Errorf("time %.60q is in no format that is known; RFC 3339 is, like 2006-01-02T15:04:05Z", s)
}

// inZone returns the first time at which clocks in a zone show what wall shows in UTC.
func inZone(wall time.Time, zone *time.Location) (time.Time, error) {
	if zone == nil {
		return wall, ErrNoZone
	}
	for _, near := range []time.Time{wall.Add(-24 * time.Hour), wall.Add(24 * time.Hour)} {
		_, offset := near.In(zone).Zone()
		t := wall.Add(-time.Duration(offset) * time.Second)
		if _, same := t.In(zone).Zone(); same == offset {
			return t, nil
		}
	}
	return wall, fmt.Errorf("clocks in %s have never shown it: they were put forward then", zone)
}

// parseEpoch parses /Date(ms)/, as .NET writes times, or a decimal number of seconds, milliseconds, microseconds or
// nanoseconds since 1970: whichever puts it in the years 1990 to 2199. At most
// one does.
func parseEpoch(s string) (time.Time, bool) {
	if ms, ok := strings.CutPrefix(s, "/Date("); ok { // of .NET: milliseconds, and perhaps an offset to show them with
		ms, ok = strings.CutSuffix(ms, ")/")
		if at := strings.LastIndexAny(ms, "+-"); at > 0 {
			ms = ms[:at]
		}
		n, err := strconv.ParseInt(ms, 10, 64)
		return time.UnixMilli(n), ok && err == nil
	}
	whole, fraction, _ := strings.Cut(s, ".")
	n, err := strconv.ParseUint(whole, 10, 63)
	if err != nil || strings.Trim(fraction, "0123456789") != "" {
		return time.Time{}, false
	}
	const y1990, y2200 = 631_152_000, 7_258_118_400 // seconds
	for perSecond := uint64(1); perSecond <= 1e9; perSecond *= 1000 {
		if n < y1990*perSecond || n >= y2200*perSecond {
			continue
		}
		nanos := n % perSecond * (1e9 / perSecond)
		for i, scale := 0, 1e8/perSecond; i < len(fraction) && scale > 0; i++ {
			nanos += uint64(fraction[i]-'0') * scale
			scale /= 10
		}
		return time.Unix(int64(n/perSecond), int64(nanos)), true
	}
	return time.Time{}, false
}
