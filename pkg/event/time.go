package event

import "time"

// IsTime reports whether an event may have a time that is written so: RFC 3339, with a
// leap second where there may have been one.
func IsTime(s string) bool {
	_, wrong := parseTime([]byte(s))
	return wrong == ""
}

// parseTime parses an RFC 3339 time strictly. If it is not one, wrong is the
// reason. Digits beyond nanoseconds are dropped from the result; the entry keeps
// them, as it keeps the text.
func parseTime(s []byte) (t time.Time, wrong string) {
	t, wrong = parseRFC3339(s)
	if wrong != "" {
		wrong = "not an RFC 3339 time: " + wrong + `; write it like "2026-11-21T09:42:00.123Z"`
	}
	return t, wrong
}

// parseRFC3339 parses by hand, as time.Parse accepts some times that RFC 3339
// does not (a comma before the fraction, one digit of an hour) and refuses leap
// seconds.
//
// SPEC: RFC 3339 section 5.6: T and Z may be lower case. Section 5.7: a leap
// second is the last second of a month, UTC. time.Time has no leap seconds, so
// one is taken for the second after it.
func parseRFC3339(s []byte) (t time.Time, wrong string) {
	// 2026-11-21T09:42:00Z
	if len(s) < len("2006-01-02T15:04:05Z") {
		return t, "it needs a date, T, a time, and Z or an offset"
	}
	year, ok1 := digits(s[0:4])
	month, ok2 := digits(s[5:7])
	day, ok3 := digits(s[8:10])
	hour, ok4 := digits(s[11:13])
	minute, ok5 := digits(s[14:16])
	second, ok6 := digits(s[17:19])
	if !(ok1 && ok2 && ok3 && ok4 && ok5 && ok6) || s[4] != '-' || s[7] != '-' || s[13] != ':' || s[16] != ':' {
		return t, "it needs the form of 2006-01-02T15:04:05Z"
	}
	if s[10] != 'T' && s[10] != 't' {
		return t, "date and time are not separated by T"
	}
	if month < 1 || month > 12 || day < 1 || day > daysIn(year, month) {
		return t, "there is no such day"
	}
	if hour > 23 || minute > 59 || second > 60 {
		return t, "there is no such time of day"
	}
	nanos, rest, ok := fraction(s[19:])
	if !ok {
		return t, "a point needs digits after it"
	}
	offset, ok := zone(rest)
	if !ok {
		return t, "it does not end in Z or an offset like +01:00"
	}
	t = time.Date(year, time.Month(month), day, hour, minute, second, nanos, time.UTC).Add(-offset)
	if second == 60 {
		if next := t.Truncate(time.Second); next.Day() != 1 || next.Hour() != 0 || next.Minute() != 0 {
			return t, "second 60 exists only at the end of a month, in UTC"
		}
	}
	return t, ""
}

// digits parses a decimal number of any length that s is all of.
func digits(s []byte) (n int, ok bool) {
	for _, c := range s {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = n*10 + int(c-'0')
	}
	return n, true
}

func daysIn(year, month int) int {
	switch time.Month(month) {
	case time.April, time.June, time.September, time.November:
		return 30
	case time.February:
		if year%4 == 0 && (year%100 != 0 || year%400 == 0) {
			return 29
		}
		return 28
	}
	return 31
}

// fraction parses the fraction of a second that s may begin with, and returns the
// rest of s. It is false for a point without digits.
func fraction(s []byte) (nanos int, rest []byte, ok bool) {
	if len(s) == 0 || s[0] != '.' {
		return 0, s, true
	}
	n, scale := 1, 100_000_000
	for ; n < len(s) && '0' <= s[n] && s[n] <= '9'; n++ {
		nanos += int(s[n]-'0') * scale
		scale /= 10
	}
	return nanos, s[n:], n > 1
}

// zone parses Z or an offset like +01:00.
func zone(s []byte) (offset time.Duration, ok bool) {
	if len(s) == 1 && (s[0] == 'Z' || s[0] == 'z') {
		return 0, true
	}
	if len(s) != len("+01:00") || s[0] != '+' && s[0] != '-' || s[3] != ':' {
		return 0, false
	}
	hours, ok1 := digits(s[1:3])
	minutes, ok2 := digits(s[4:6])
	if !ok1 || !ok2 || hours > 23 || minutes > 59 {
		return 0, false
	}
	offset = time.Duration(hours)*time.Hour + time.Duration(minutes)*time.Minute
	if s[0] == '-' {
		offset = -offset
	}
	return offset, true
}

// appendTime appends a time in UTC, in the form of timeFormat. It runs for each
// entry, and time.Time.AppendFormat takes several times as long.
func appendTime(dst []byte, t time.Time) []byte {
	t = t.UTC()
	year, month, day := t.Date()
	hour, minute, second := t.Clock()
	at := len(dst)
	dst = append(dst, timeFormat...)
	b := dst[at:]
	putDigits(b[0:4], year)
	putDigits(b[5:7], int(month))
	putDigits(b[8:10], day)
	putDigits(b[11:13], hour)
	putDigits(b[14:16], minute)
	putDigits(b[17:19], second)
	putDigits(b[20:26], t.Nanosecond()/1000)
	return dst
}

// putDigits fills b with the last digits of n.
func putDigits(b []byte, n int) {
	for i := len(b) - 1; i >= 0; i-- {
		b[i] = byte('0' + n%10)
		n /= 10
	}
}
