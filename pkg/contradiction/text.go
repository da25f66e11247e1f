package contradiction

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/stele-log/stele/pkg/checkpoint"
	"github.com/stele-log/stele/pkg/internal/notefmt"
	"github.com/stele-log/stele/pkg/proof"
	"github.com/stele-log/stele/pkg/tile"
	"github.com/stele-log/stele/pkg/tree"
)

// MaxSize is the size of the largest contradiction file, in bytes.
const MaxSize = 2*checkpoint.MaxSize + 128<<10

const (
	header    = "stele-contradiction@v1"
	maxSource = 512 // bytes
)

// Origin returns the first line of a note, which is the origin if it is a
// checkpoint. Nothing is verified.
func Origin(msg []byte) string {
	first, _, _ := bytes.Cut(msg, []byte("\n"))
	return string(first)
}

// Format returns the contradiction as a file. [Parse] reads it back, if the fields
// are within the limits in their comments.
func (c Contradiction) Format() []byte {
	b := fmt.Appendf(nil, "%s\nkind %s\n", header, c.Kind)
	switch c.Kind {
	case Inconsistent:
		b = fmt.Appendf(b, "prefix %s\n", c.Prefix)
	case Entry:
		b = fmt.Appendf(b, "index %d\nleaf %s\n", c.Index, c.Leaf)
	}
	for _, h := range c.Hashes {
		b = fmt.Appendf(b, "hash %s\n", h)
	}
	b = appendBlock(b, "note", c.First.Note)
	b = c.First.appendSeen(b)
	if c.Kind == Entry {
		b = appendBlock(b, "entry", c.Data)
	} else {
		b = appendBlock(b, "note", c.Second.Note)
		b = c.Second.appendSeen(b)
	}
	return fmt.Appendf(b, "end %s\n", tree.Hash(sha256.Sum256(b)))
}

// appendBlock appends data after a line with its length, so that the data may
// contain anything.
func appendBlock(b []byte, name string, data []byte) []byte {
	b = fmt.Appendf(b, "%s %d\n", name, len(data))
	return append(append(b, data...), '\n')
}

func (s Sighting) appendSeen(b []byte) []byte {
	return fmt.Appendf(b, "seen %s %s\n", s.Time.UTC().Format(time.RFC3339), s.Source)
}

// Parse parses a contradiction file. It accepts only what [Contradiction.Format]
// returns, and verifies nothing: see [Contradiction.Verify].
func Parse(text []byte) (Contradiction, error) {
	if len(text) > MaxSize {
		return Contradiction{}, fmt.Errorf("contradiction: %d bytes, want at most %d", len(text), MaxSize)
	}
	// Further down, the bytes of an entry may be anything.
	if err := notefmt.CheckBytes(text[:min(len(text), len(header)+2)]); err != nil {
		return Contradiction{}, fmt.Errorf("contradiction: %w: get the file again, byte for byte", err)
	}
	p := parser{rest: text, line: 1}
	c := p.contradiction()
	if p.err != nil {
		return Contradiction{}, fmt.Errorf("contradiction: line %d: %w", p.line, p.err)
	}
	// The last line is the hash of all others, so that accidental changes show
	// even in bytes that no signature covers, such as where a note was seen.
	if !bytes.Equal(c.Format(), text) {
		return Contradiction{}, errors.New("contradiction: the last line is not the hash of the others, " +
			"or something is not in its canonical spelling: the file was changed")
	}
	return c, nil
}

// A parser reads a file from its beginning. It keeps the first error and reads
// nothing after it, so that its methods need not return one.
type parser struct {
	rest []byte // not read yet
	line int    // number of the line to read next, from 1; once err is set, that of the error
	err  error
}

func (p *parser) contradiction() (c Contradiction) {
	if got := p.next(); p.err == nil && got != header {
		p.fail("it is %.60q, want %q: is this a contradiction file?", got, header)
	}
	c.Kind = Kind(p.field("kind"))
	switch c.Kind {
	case Fork:
	case Inconsistent:
		c.Prefix = p.hash("prefix")
	case Entry:
		c.Index = p.number("index")
		c.Leaf = p.hash("leaf")
	default:
		p.fail("kind is %.60q, want fork, inconsistent or entry", string(c.Kind))
	}
	for c.Kind != Fork && p.err == nil && bytes.HasPrefix(p.rest, []byte("hash ")) {
		if len(c.Hashes) == proof.MaxHashes {
			p.fail("more than %d hashes", proof.MaxHashes)
		}
		c.Hashes = append(c.Hashes, p.hash("hash"))
	}
	c.First = p.sighting()
	if c.Kind == Entry {
		c.Data = p.block("entry", tile.MaxEntry)
	} else {
		c.Second = p.sighting()
	}
	p.hash("end")
	if len(p.rest) > 0 {
		p.fail("bytes after the end")
	}
	return c
}

func (p *parser) sighting() (s Sighting) {
	s.Note = p.block("note", checkpoint.MaxSize)
	when, source, _ := strings.Cut(p.field("seen"), " ")
	if !ValidSource(source) {
		p.fail("%.60q is not a source: want 1 to %d bytes of printable ASCII without space", source, maxSource)
	}
	s.Source = source
	var err error
	if s.Time, err = time.Parse(time.RFC3339, when); err != nil {
		p.fail("%.60q is not a time in UTC and whole seconds", when)
	}
	s.Time = s.Time.UTC()
	return s
}

// ValidSource reports whether s can be the Source of a [Sighting]. An
// auditor checks its URLs with it when it starts, long before it sees anything.
func ValidSource(s string) bool {
	return s != "" && len(s) <= maxSource && !strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' })
}

// next returns the next line, without its end.
func (p *parser) next() string {
	if p.err != nil {
		return ""
	}
	line, rest, ok := bytes.Cut(p.rest, []byte("\n"))
	if !ok {
		p.fail("the file ends within this line")
		return ""
	}
	p.rest = rest
	p.line++
	return string(line)
}

// field returns the rest of the next line, which must begin with the name.
func (p *parser) field(name string) string {
	line := p.next()
	value, ok := strings.CutPrefix(line, name+" ")
	if !ok {
		p.fail("it is %.60q, want the word %s and its value", line, name)
	}
	return value
}

func (p *parser) hash(name string) tree.Hash {
	h, err := tree.ParseHash(p.field(name))
	if err != nil {
		p.fail("%w", err)
	}
	return h
}

func (p *parser) number(name string) uint64 {
	s := p.field(name)
	n, err := strconv.ParseUint(s, 10, 63)
	if err != nil {
		p.fail("%.60q is not a number from 0 on", s)
	}
	return n
}

// block returns the bytes after the next line, which has their length.
func (p *parser) block(name string, limit uint64) []byte {
	n := p.number(name)
	if n > limit {
		p.fail("%s of %d bytes, want at most %d", name, n, limit)
	}
	if p.err == nil && (uint64(len(p.rest)) <= n || p.rest[n] != '\n') {
		p.fail("%s of %d bytes: they are not followed by a line end", name, n)
	}
	if p.err != nil {
		return nil
	}
	data := bytes.Clone(p.rest[:n])
	p.line += bytes.Count(p.rest[:n+1], []byte("\n"))
	p.rest = p.rest[n+1:]
	return data
}

// fail keeps an error about the line read last, unless there is one already.
func (p *parser) fail(format string, args ...any) {
	if p.err == nil {
		p.line = max(1, p.line-1)
		p.err = fmt.Errorf(format, args...)
	}
}
