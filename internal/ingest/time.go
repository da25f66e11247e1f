package ingest

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"
)

// layouts are the formats of times that are not RFC 3339, beside the numbers.
// All take a fraction after the seconds. Those without a zone are taken for UTC.
var layouts = [...]string{
	"2006-01-02 15:04:05",
	"2006-01-02T15:04:05",
	"2006-01-02 15:04:05Z07:00",
	"2006-01-02 15:04:05 Z07:00",
	"2006-01-02 15:04:05 -0700",
	"2006-01-02T15:04:05-0700",
	"2006-01-02 15:04:05 MST",
	"2006/01/02 15:04:05",
	"02/Jan/2006:15:04:05 -0700", // Apache, nginx: common log format
	"Mon Jan _2 15:04:05 2006",   // Apache error log; ANSI C
	"Mon Jan _2 15:04:05 MST 2006",
	"Mon Jan 02 15:04:05 -0700 2006",
	"Jan _2 2006 15:04:05", // syslog with a year
	"Jan _2 15:04:05 2006",
	time.RFC1123,
	time.RFC1123Z,
}

// ParseTime returns the time that a JSON string or number means, as RFC
// 3339 in UTC.
func ParseTime(v jsontext.Value) (string, error) {
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
	t, err := parseTime(text)
	return t.UTC().Format(time.RFC3339Nano), err
}

func parseTime(s string) (time.Time, error) {
	if t, err := time.Parse(time.RFC3339Nano, s); err == nil {
		return t, nil
	}
	if t, ok := parseEpoch(s); ok {
		return t, nil
	}
	for _, layout := range layouts {
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

// parseEpoch parses a decimal number of seconds, milliseconds, microseconds or
// nanoseconds since 1970: whichever puts it in the years 1990 to 2199. At most
// one does.
func parseEpoch(s string) (time.Time, bool) {
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
