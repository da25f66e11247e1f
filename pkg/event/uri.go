package event

import (
	"bytes"
	"fmt"
	"net/netip"
	"strings"
	"unicode/utf8"
)

// checkURIReference checks s by the grammar of RFC 3986 section 4.1. It returns
// the reason why s is wrong, or "". net/url would not do: it accepts much that
// the grammar does not, and what one reader accepts the next one may refuse.
func checkURIReference(s []byte) string {
	rest := s
	if n := scheme(s); n > 0 {
		rest = s[n+1:]
	} else if i := bytes.IndexAny(s, ":/?#"); i >= 0 && s[i] == ':' {
		return `the part before the first ":" is not a scheme; write "./" before it, or %3A for ":"`
	}
	rest, fragment, _ := bytes.Cut(rest, []byte{'#'})
	rest, query, _ := bytes.Cut(rest, []byte{'?'})
	path := rest
	if authority, ok := bytes.CutPrefix(rest, []byte("//")); ok {
		path = nil
		if i := bytes.IndexByte(authority, '/'); i >= 0 {
			authority, path = authority[:i], authority[i:]
		}
		if reason := checkAuthority(authority); reason != "" {
			return reason
		}
	}
	if reason := checkURIChars(path, ":@/"); reason != "" {
		return reason
	}
	if reason := checkURIChars(query, ":@/?"); reason != "" {
		return reason
	}
	return checkURIChars(fragment, ":@/?")
}

// scheme returns the length of the scheme that s begins with, without its colon,
// or 0 if s has none.
func scheme(s []byte) int {
	for i, c := range s {
		switch {
		case 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z':
		case i > 0 && ('0' <= c && c <= '9' || c == '+' || c == '-' || c == '.'):
		case c == ':':
			return i
		default:
			return 0
		}
	}
	return 0
}

// checkAuthority checks [userinfo "@"] host [":" port].
func checkAuthority(s []byte) string {
	host := s
	if i := bytes.LastIndexByte(s, '@'); i >= 0 {
		if reason := checkURIChars(s[:i], ":"); reason != "" {
			return reason
		}
		host = s[i+1:]
	}
	var port []byte // with its colon
	if inner, ok := bytes.CutPrefix(host, []byte{'['}); ok {
		address, after, closed := bytes.Cut(inner, []byte{']'})
		if !closed || !isIPLiteral(string(address)) {
			return "the part in brackets is not an IPv6 address"
		}
		port = after
	} else {
		name := host
		if i := bytes.LastIndexByte(host, ':'); i >= 0 {
			name, port = host[:i], host[i:]
		}
		if reason := checkURIChars(name, ""); reason != "" {
			return reason
		}
	}
	if digits := bytes.TrimPrefix(port, []byte{':'}); len(port) > 0 && len(digits) == len(port) ||
		len(bytes.Trim(digits, "0123456789")) > 0 {
		return "the port is not a number"
	}
	return ""
}

func isIPLiteral(s string) bool {
	ip, err := netip.ParseAddr(s)
	return err == nil && ip.Is6() && ip.Zone() == ""
}

// checkURIChars checks that s has only unreserved and sub-delims characters,
// percent-encoded bytes, and those in extra.
func checkURIChars(s []byte, extra string) string {
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch {
		case uriChars[c] || strings.IndexByte(extra, c) >= 0:
		case c == '%' && i+2 < len(s) && isHex(s[i+1]) && isHex(s[i+2]):
			i += 2
		case c == '%':
			return `"%" without two hexadecimal digits after it; write %25 for "%"`
		default:
			r, n := utf8.DecodeRune(s[i:])
			return fmt.Sprintf("%q is not allowed there; write %s for it", r, percentEncode(string(s[i:i+n])))
		}
	}
	return ""
}

// uriChars are the unreserved and sub-delims characters.
var uriChars = func() (is [256]bool) {
	for c := range is {
		is[c] = isUnreserved(byte(c)) || strings.IndexByte("!$&'()*+,;=", byte(c)) >= 0
	}
	return is
}()

func isUnreserved(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' ||
		c == '-' || c == '.' || c == '_' || c == '~'
}

func isHex(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F'
}

// sourceOf returns the source that the server sets in events without one: the
// sender's name, percent-encoded unless it is a URI-reference already.
func sourceOf(name string) string {
	if checkURIReference([]byte(name)) == "" {
		return name
	}
	return percentEncode(name)
}

// percentEncode encodes all bytes but unreserved ones and slashes, in upper case.
func percentEncode(s string) string {
	var b strings.Builder
	for _, c := range []byte(s) {
		if isUnreserved(c) || c == '/' {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}
