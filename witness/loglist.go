package witness

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/stele-log/stele/pkg/checkpoint"
)

const (
	logListHeader = "logs/v0"
	maxQPD        = 1<<31 - 1
)

// A ListedLog is one log of a log list.
type ListedLog struct {
	VKey    string
	Origin  string // the name of the key, unless the list has another
	QPD     uint64 // add-checkpoint requests that the log may make in a day, 1 to 2^31-1
	Contact string // of the log's operator, for people
}

// ParseLogList parses a log list of the witness network
// (https://witness-network.org): the line "logs/v0", then for each log the
// lines vkey, origin (if it is not the key's name), qpd and contact, in this
// order. Lines that begin with "#" and empty lines are ignored, and so is white
// space around a line. No two logs may have the same origin.
//
// The keys are not parsed: a list may name logs with keys of types that this
// program does not know. [AddLogList] skips those.
func ParseLogList(text string) ([]ListedLog, error) {
	p := logListParser{origins: map[string]bool{}}
	if !utf8.ValidString(text) {
		return nil, errors.New("log list: it is not UTF-8")
	}
	number := 0
	for line := range strings.Lines(text) {
		number++
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		if err := p.line(line); err != nil {
			return nil, fmt.Errorf("log list: line %d: %w", number, err)
		}
	}
	if err := p.end(); err != nil {
		return nil, fmt.Errorf("log list: at the end: %w", err)
	}
	return p.logs, nil
}

// A logListParser has read some lines of a log list.
type logListParser struct {
	logs    []ListedLog
	origins map[string]bool
	last    string // keyword of the last line, logListHeader for the header
}

// follows lists, for each keyword, those that may precede it.
var follows = map[string]string{
	"vkey": logListHeader + " contact", "origin": "vkey", "qpd": "vkey origin", "contact": "qpd",
}

func (p *logListParser) line(line string) error {
	if p.last == "" {
		if line != logListHeader {
			return fmt.Errorf("%.60q is not the header, %s", line, logListHeader)
		}
		p.last = line
		return nil
	}
	keyword, value, _ := strings.Cut(line, " ")
	value = strings.TrimSpace(value)
	before, ok := follows[keyword]
	switch {
	case !ok:
		return fmt.Errorf("%.60q is not a keyword: want vkey, origin, qpd or contact", keyword)
	case !strings.Contains(before, p.last):
		return fmt.Errorf("%s after %s: a log is vkey, origin (which can be left out), qpd, contact", keyword, p.last)
	case value == "":
		return fmt.Errorf("%s has no value", keyword)
	}
	p.last = keyword
	return p.set(keyword, value)
}

func (p *logListParser) set(keyword, value string) error {
	if keyword == "vkey" {
		name, _, _ := strings.Cut(value, "+")
		p.logs = append(p.logs, ListedLog{VKey: value, Origin: name})
		return nil
	}
	l := &p.logs[len(p.logs)-1]
	switch keyword {
	case "origin":
		l.Origin = value
	case "qpd":
		n, err := strconv.ParseUint(value, 10, 64)
		if err != nil || n < 1 || n > maxQPD {
			return fmt.Errorf("qpd is %.60q: want a number from 1 to 2^31-1", value)
		}
		l.QPD = n
	case "contact":
		l.Contact = value
		if p.origins[l.Origin] {
			return fmt.Errorf("the origin %.60q is listed twice", l.Origin)
		}
		p.origins[l.Origin] = true
	}
	return nil
}

func (p *logListParser) end() error {
	switch p.last {
	case logListHeader, "contact":
		return nil
	case "":
		return fmt.Errorf("there is no header, %s", logListHeader)
	}
	return fmt.Errorf("the last log is not complete: it ends with its %s", p.last)
}

// AddLogList adds the logs of a list that the witness does not follow yet, and
// returns their origins. It neither changes nor removes a log that the witness
// follows.
//
// Logs that this program cannot follow are skipped, for the reasons returned: the
// type of the key is unknown, or its name is not the origin. After an error of the
// store some logs may have been added.
//
// SPEC: https://witness-network.org: a list is for discovery; logs that are
// configured must not change because of it.
func AddLogList(ctx context.Context, store Store, logs []ListedLog) (added []string, skipped []error, err error) {
	for _, l := range logs {
		key, err := checkpoint.NewVerifier(l.VKey)
		if err == nil && key.Name() != l.Origin {
			err = fmt.Errorf("the name of its key is %q", key.Name())
		}
		if err != nil {
			skipped = append(skipped, fmt.Errorf("log %.80q: %w", l.Origin, err))
			continue
		}
		ok, err := store.AddListed(ctx, l)
		if err != nil {
			return added, skipped, fmt.Errorf("add log %q: %w", l.Origin, err)
		}
		if ok {
			added = append(added, l.Origin)
		}
	}
	return added, skipped, nil
}
