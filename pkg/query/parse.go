package query

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

const (
	// MaxLength is the size of the longest query, in bytes.
	MaxLength = 4096

	// maxDepth is how deep parentheses and "not" may be nested.
	maxDepth = 32
)

// An Error says where a query is wrong, and why.
type Error struct {
	Offset int // in bytes
	Reason string
}

func (e *Error) Error() string { return fmt.Sprintf("query: at byte %d: %s", e.Offset, e.Reason) }

// Parse reads a query. An empty text is the query that is true of every entry. The error
// is an [*Error].
func Parse(text string) (Query, error) {
	if len(text) > MaxLength {
		return Query{}, &Error{MaxLength, fmt.Sprintf("it is longer than %d bytes", MaxLength)}
	}
	if !utf8.ValidString(text) {
		return Query{}, &Error{len(strings.ToValidUTF8(text, "")), "it is not UTF-8"}
	}
	p := &parser{text: text}
	p.next()
	if p.is("") && p.err == nil {
		return Query{}, nil
	}
	root := p.or(0)
	if p.err == nil && !p.is("") {
		p.fail("unexpected %s", p.token)
	}
	if p.err != nil {
		return Query{}, p.err
	}
	return Query{root}, nil
}

// A token is a word, a quoted text, a claim, or a character of its own.
type token struct {
	kind  rune   // 'w' a word, 'q' a quoted text, 'c' a claim, or the character; 0 at the end
	text  string // of a word as it stands, of a quoted text without quotes, of a claim its name
	start int
	glued bool // nothing stands between it and the token before
}

func (t token) String() string {
	switch t.kind {
	case 0:
		return "the end"
	case 'w', 'q':
		return strconv.Quote(t.text)
	case 'c':
		return "{claims." + t.text + "}"
	}
	return strconv.Quote(string(t.kind))
}

type parser struct {
	text string
	at   int // after the token
	token
	err *Error
}

// fail keeps the first error, at the token, and has the parser see the end from there on.
func (p *parser) fail(format string, args ...interface{}) { p.failAt(p.start, format, args...) }

func (p *parser) failAt(offset int, format string, args ...interface{}) {
	if p.err == nil {
		p.err = &Error{offset, fmt.Sprintf(format, args...)}
	}
	p.token, p.at = token{start: len(p.text)}, len(p.text)
}

// is reports whether the token is a word of the language, in any case, or the end if the
// word is empty.
func (p *parser) is(word string) bool {
	if word == "" {
		return p.kind == 0
	}
	return p.kind == 'w' && strings.EqualFold(p.token.text, word)
}

// endsWord reports whether a character cannot be part of a word.
func endsWord(r rune) bool {
	return unicode.IsSpace(r) || !unicode.IsPrint(r) || strings.ContainsRune(`():="{}*<>`, r)
}

// claimPattern is what a claim in a query looks like.
var claimPattern = regexp.MustCompile(`^\{claims\.([A-Za-z0-9_.:/-]{1,100})\}`)

// next goes on to the next token.
func (p *parser) next() {
	rest := strings.TrimLeftFunc(p.text[p.at:], unicode.IsSpace)
	start := len(p.text) - len(rest)
	glued := start == p.at && start > 0
	p.token = token{start: start, glued: glued}
	if rest == "" {
		p.at = start
		return
	}
	r, size := utf8.DecodeRuneInString(rest)
	switch {
	case r == '"':
		quoted, err := strconv.QuotedPrefix(rest)
		if err != nil {
			p.fail("a quoted text does not end, or has an escape that does not exist; %q and %q are written %s and %s", `"`, `\`, `\"`, `\\`)
			return
		}
		text, err := strconv.Unquote(quoted)
		if err != nil || !utf8.ValidString(text) {
			p.fail("the quoted text is not UTF-8")
			return
		}
		p.kind, p.token.text, size = 'q', text, len(quoted)
	case r == '{':
		match := claimPattern.FindStringSubmatch(rest)
		if match == nil {
			p.fail("after { there must be the name of a claim, such as {claims.tenant}; a text with { in it is written in quotes")
			return
		}
		p.kind, p.token.text, size = 'c', match[1], len(match[0])
	case r == '-' || endsWord(r):
		p.kind = r
	default:
		if size = strings.IndexFunc(rest, endsWord); size < 0 {
			size = len(rest)
		}
		p.kind, p.token.text = 'w', rest[:size]
	}
	p.at = start + size
}

// or reads: and { "or" and }
func (p *parser) or(depth int) node {
	parts := []node{p.and(depth)}
	for p.is("or") {
		p.next()
		parts = append(parts, p.and(depth))
	}
	return combine[or](parts)
}

// and reads: unary { [ "and" ] unary }
func (p *parser) and(depth int) node {
	parts := []node{p.unary(depth)}
	for p.err == nil && p.kind != 0 && p.kind != ')' && !p.is("or") {
		if p.is("and") {
			p.next()
		}
		parts = append(parts, p.unary(depth))
	}
	return combine[and](parts)
}

// unary reads: ( "not" | "-" ) unary | "(" or ")" | term
func (p *parser) unary(depth int) node {
	if depth > maxDepth {
		p.fail("it is nested more than %d deep", maxDepth)
		return nil
	}
	switch {
	case p.is("not"), p.kind == '-':
		p.next()
		inner := p.unary(depth + 1)
		if twice, ok := inner.(not); ok {
			return twice.node
		}
		return not{inner}
	case p.kind == '(':
		p.next()
		inner := p.or(depth + 1)
		p.close()
		return inner
	}
	return p.term()
}

func (p *parser) close() {
	if p.kind != ')' {
		p.fail("unexpected %s: a closing parenthesis is missing", p.token)
		return
	}
	p.next()
}

// term reads: field ( ":" | "=" ) ( value | "(" value { "or" value } ")" )
func (p *parser) term() node {
	field := p.token
	switch {
	case field.kind == 'w' && isOperator(field.text):
		p.fail("unexpected %q: a condition such as type:user.login is missing", field.text)
		return nil
	case field.kind != 'w' && field.kind != 'q':
		p.fail("unexpected %s: a condition such as type:user.login is missing", field)
		return nil
	}
	p.next()
	if p.kind == '<' || p.kind == '>' {
		p.fail("%q does not exist: values are compared with : only", string(p.kind))
		return nil
	}
	if p.kind != ':' && p.kind != '=' {
		p.failAt(field.start, "%s is not a condition: a member and a value are written as type:user.login", field)
		return nil
	}
	p.next()
	if p.kind != '(' {
		return p.value(field.text)
	}
	p.next()
	parts := []node{p.value(field.text)}
	for p.is("or") {
		p.next()
		parts = append(parts, p.value(field.text))
	}
	p.close()
	return combine[or](parts)
}

// value reads: "*" | ( word | quoted | claim ) [ "*" ]
func (p *parser) value(field string) node {
	t := term{field: field, is: equal, text: p.token.text}
	switch {
	case p.kind == '*':
		p.next()
		return term{field: field}
	case p.kind == 'c':
		t.is = claim
	case p.kind == 'w' && isOperator(p.token.text):
		p.fail("after %s: there must be a value; %q as a value is written in quotes", spell(field), p.token.text)
		return nil
	case p.kind == '-':
		p.fail("a value that begins with - is written in quotes")
		return nil
	case p.kind != 'w' && p.kind != 'q':
		p.fail("after %s: there must be a value, and here is %s", spell(field), p.token)
		return nil
	}
	p.next()
	if p.kind == '*' && p.glued {
		p.next()
		t.is = map[comparison]comparison{equal: prefix, claim: claimStart}[t.is]
	} else if (p.kind == ':' || p.kind == '=') && p.glued {
		p.fail("a value with %q in it is written in quotes", string(p.kind))
	}
	return t
}
