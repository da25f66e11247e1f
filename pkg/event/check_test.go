package event_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/stele-log/stele/pkg/event"
)

// parseWith parses an event with one attribute more.
func parseWith(t testing.TB, name, value string) (event.Event, error) {
	t.Helper()
	b, err := json.Marshal(map[string]string{"type": "t", name: value})
	if err != nil {
		t.Fatal(err)
	}
	return event.Parse(b, known)
}

func TestTimeIsRFC3339(t *testing.T) {
	t.Parallel()
	for s, want := range map[string]string{ // "" if it is not
		"2026-11-21T09:42:00Z":               "2026-11-21T09:42:00Z",
		"2026-11-21t09:42:00z":               "2026-11-21T09:42:00Z",
		"2026-11-21T09:42:00.5Z":             "2026-11-21T09:42:00.5Z",
		"2026-11-21T09:42:00.1234567891234Z": "2026-11-21T09:42:00.123456789Z",
		"2026-11-21T09:42:00+00:00":          "2026-11-21T09:42:00Z",
		"2026-11-21T09:42:00-00:00":          "2026-11-21T09:42:00Z",
		"2026-11-21T09:42:00.25+05:30":       "2026-11-21T04:12:00.25Z",
		"2026-11-21T09:42:00-23:59":          "2026-11-22T09:41:00Z",
		"0000-01-01T00:00:00Z":               "0000-01-01T00:00:00Z",
		"9999-12-31T23:59:59.999999999Z":     "9999-12-31T23:59:59.999999999Z",
		"2024-02-29T00:00:00Z":               "2024-02-29T00:00:00Z",
		"2016-12-31T23:59:60Z":               "2017-01-01T00:00:00Z", // a leap second
		"2016-12-31T23:59:60.5Z":             "2017-01-01T00:00:00.5Z",
		"1990-12-31T15:59:60-08:00":          "1991-01-01T00:00:00Z", // RFC 3339 section 5.8
		"2016-12-31T23:59:60+01:00":          "",
		"2017-01-01T00:29:60Z":               "",
		"2016-12-30T23:59:60Z":               "",
		"2016-12-31T22:59:60Z":               "",
		"2026-11-21T09:42:61Z":               "",
		"2023-02-29T00:00:00Z":               "",
		"2026-13-21T09:42:00Z":               "",
		"2026-00-21T09:42:00Z":               "",
		"2026-11-00T09:42:00Z":               "",
		"2026-11-31T09:42:00Z":               "",
		"2026-11-21T24:00:00Z":               "",
		"2026-11-21T09:60:00Z":               "",
		"2026-11-21T09:42:00+24:00":          "",
		"2026-11-21T09:42:00+01:60":          "",
		"2026-11-21T09:42:00+0100":           "",
		"2026-11-21T09:42:00+01":             "",
		"2026-11-21T09:42:00":                "",
		"2026-11-21T09:42:00.5":              "",
		"2026-11-21 09:42:00Z":               "",
		"2026-11-21T09:42Z":                  "",
		"2026-11-21T9:42:00Z":                "",
		"2026-11-21T09:42:00.Z":              "",
		"2026-11-21T09:42:00,5Z":             "",
		"2026-11-21T09:42:00Z ":              "",
		"2026-11-21T09:42:00 Z":              "",
		"+2026-11-21T09:42:00Z":              "",
		"20261-11-21T09:42:00Z":              "",
		"2026-11-21T09:42:+0Z":               "",
		"2026/11/21T09:42:00Z":               "",
		"2026-11-21":                         "",
		"1700000000":                         "",
		"":                                   "",
		"2026-11-21T09:42:00.１Z":             "",
	} {
		if event.IsTime(s) != (want != "") {
			t.Errorf("%q is a time: %v", s, event.IsTime(s))
		}
		e, err := parseWith(t, "time", s)
		if (err == nil) != (want != "") {
			t.Errorf("time %q: error %v", s, err)
		} else if err == nil && e.Time.Format(time.RFC3339Nano) != want {
			t.Errorf("time %q is %v, want %s", s, e.Time, want)
		}
	}
}

func TestSourceIsURIReference(t *testing.T) {
	t.Parallel()
	for s, good := range map[string]bool{
		"https://example.org/a/b?c=d&e#f": true,
		"//cloudtrail.amazonaws.com/1/eu": true,
		"urn:uuid:6e8bc430-9c3a-11d9":     true,
		"mailto:a@example.org":            true,
		"/sensors/tn-1234567/alerts":      true,
		"1-555-123-4567":                  true,
		"a":                               true,
		"./a:b":                           true,
		"?q":                              true,
		"#f":                              true,
		"http://user:pw@host:80/":         true,
		"http://[2001:db8::1]:8080/x":     true,
		"http://host:/":                   true,
		"http://:80/":                     true,
		"http://@host/":                   true,
		"http://":                         true,
		"file:///etc/passwd":              true,
		"a%20b":                           true,
		"x/!$&'()*+,;=:@-._~":             true,
		"a b":                             false,
		"a%2":                             false,
		"a%zz":                            false,
		"größe":                           false,
		"1:2":                             false,
		":a":                              false,
		"a#b#c":                           false,
		"a[b]":                            false,
		"a\"b":                            false,
		"a<b>":                            false,
		"a\\b":                            false,
		"a|b":                             false,
		"a^b`{}":                          false,
		"http://host:8x/":                 false,
		"http://[::1/":                    false,
		"http://[1.2.3.4]/":               false,
		"http://[::1]x/":                  false,
		"http://a b/":                     false,
		"http://a@b@c/":                   false,
		"http://[::1%25eth0]/":            false,
	} {
		_, err := parseWith(t, "source", s)
		if (err == nil) != good {
			t.Errorf("source %q: error %v", s, err)
		}
	}
}

// Each byte is tried at each place where the grammar has its own rule for it.
func TestURIReferenceHasNoOtherCharacters(t *testing.T) {
	t.Parallel()
	const digits, letters = "0123456789", "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
	const segment = letters + digits + "-._~!$&'()*+,;=:@"
	for _, place := range []struct{ before, after, allowed string }{
		{"/", "x", segment + "/?#"},
		{"?", "x", segment + "/?#"},
		{"#", "x", segment + "/?"},
		{"", ":x", letters + "/?#"},
		{"x", ":", letters + digits + "+-.:/?#"},
		{"//x", "x", strings.ReplaceAll(segment, ":", "") + "/?#"},
		{"//x:", "0", digits + "@/?#"},
		{"/%", "0", digits + "abcdefABCDEF"},
		{"/%0", "", digits + "abcdefABCDEF"},
		{"//[::", "]", digits + "abcdefABCDEF"},
	} {
		for c := range 128 {
			s := place.before + string(rune(c)) + place.after
			_, err := parseWith(t, "source", s)
			if good := strings.IndexByte(place.allowed, byte(c)) >= 0; good != (err == nil) {
				t.Errorf("source %q: error %v", s, err)
			}
		}
	}
}

func TestMediaTypeAndSchema(t *testing.T) {
	t.Parallel()
	for s, good := range map[string]bool{
		"application/json": true, "text/plain; charset=utf-8": true, "image/svg+xml": true, `a/b; c="d e"`: true,
		"": false, "text": false, "text/": false, "/plain": false, "text/plain; charset": false, "a b/c": false, "text/plain;;": false,
	} {
		if _, err := parseWith(t, "datacontenttype", s); (err == nil) != good {
			t.Errorf("datacontenttype %q: error %v", s, err)
		}
	}
	for s, good := range map[string]bool{
		"https://example.org/a?b": true, "urn:x:y": true,
		"": false, "/a": false, "//host/a": false, "https://example.org/a#b": false, "a b:c": false,
	} {
		if _, err := parseWith(t, "dataschema", s); (err == nil) != good {
			t.Errorf("dataschema %q: error %v", s, err)
		}
	}
}
