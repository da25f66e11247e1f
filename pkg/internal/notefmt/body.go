package notefmt

import (
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/stele-log/stele/pkg/tree"
)

// A Body is the text of a checkpoint. Package checkpoint has it under its own
// name, with the meaning of the fields.
type Body struct {
	Origin string
	tree.Head
	Extensions string
}

// ParseBody parses the text of a checkpoint. It accepts only what
// [Body.String] prints.
//
// SPEC: https://c2sp.org/tlog-checkpoint#note-text
func ParseBody(text string) (Body, error) {
	b, err := parseBody(text)
	if err != nil {
		return Body{}, fmt.Errorf("checkpoint: %w", err)
	}
	if b.String() != text {
		return Body{}, errors.New("checkpoint: not in its canonical spelling")
	}
	return b, nil
}

func parseBody(text string) (b Body, err error) {
	lines := strings.SplitN(text, "\n", 4)
	if len(lines) < 4 {
		return b, fmt.Errorf("%d lines, each ended by a line feed, want at least 3: origin, size, root",
			len(lines)-1)
	}
	b.Origin, b.Extensions = lines[0], lines[3]
	if !validOrigin(b.Origin) {
		return b, fmt.Errorf("line 1: origin %.60q is not 1 to %d bytes of UTF-8 without control characters",
			b.Origin, MaxName)
	}
	var ok bool
	if b.Size, ok = ParseSize(lines[1]); !ok {
		return b, fmt.Errorf("line 2: size %.60q is not a decimal number without leading zeros, at most 2^63-1", lines[1])
	}
	if b.Root, err = tree.ParseHash(lines[2]); err != nil {
		return b, fmt.Errorf("line 3: %w", err)
	}
	if b.Size == 0 && b.Root != tree.EmptyRoot {
		return b, fmt.Errorf("line 3: root of size 0 is not that of the empty tree, %s", tree.EmptyRoot)
	}
	return b, checkExtensions(b.Extensions)
}

// checkExtensions checks that the extension lines are whole lines, not empty,
// of what may stand in a note.
func checkExtensions(s string) error {
	if s == "" {
		return nil
	}
	if !strings.HasSuffix(s, "\n") {
		return errors.New("the last extension line is not ended by a line feed")
	}
	if s[0] == '\n' || strings.Contains(s, "\n\n") {
		return errors.New("an extension line is empty")
	}
	if !utf8.ValidString(s) || strings.ContainsFunc(s, func(r rune) bool { return r < ' ' && r != '\n' }) {
		return errors.New("an extension line is not UTF-8, or has a control character")
	}
	return nil
}

func validOrigin(s string) bool {
	return s != "" && len(s) <= MaxName && utf8.ValidString(s) && !strings.ContainsFunc(s, unicode.IsControl)
}

// String returns the text, each line ended by a line feed.
func (b Body) String() string {
	return fmt.Sprintf("%s\n%d\n%s\n%s", b.Origin, b.Size, b.Root, b.Extensions)
}
