// Package apply brings the configuration of a server to what a file says, so that teams can
// keep it in version control.
//
//	file + state of the server -> plan -> changes, in order
//
// A plan is made for one state. Its changes are refused by the server if another came in
// between.
package apply

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/stele-log/stele/internal/access"
	"github.com/stele-log/stele/pkg/client"
)

// A File is what a configuration file says. Keys are not in it: they are secrets.
type File struct {
	Logs    []Log           `yaml:"logs"`
	Issuers []client.Issuer `yaml:"issuers"` // members as in JSON
	Grants  []Grant         `yaml:"grants"`
	Limits  []client.Limit  `yaml:"limits"`
}

// A Log is a log that there is to be, and its settings; those that are empty stay as they
// are.
type Log struct {
	Name    string `yaml:"name"`
	Origin  string `yaml:"origin"`
	MLDSA44 bool   `yaml:"mldsa44"`
	Public  string `yaml:"public"`
	Reads   string `yaml:"reads"`
}

// A Grant is a [client.Grant] without its id.
type Grant struct {
	Principal string `yaml:"principal"`
	Claim     string `yaml:"claim"`
	Role      string `yaml:"role"`
	Log       string `yaml:"log"`
	Filter    string `yaml:"filter"`
	Source    string `yaml:"source"`
	Until     string `yaml:"until"` // a date, or a time as in RFC 3339

	until time.Time
}

// Read reads a file. An error has the line.
func Read(text []byte) (f File, err error) {
	d := yaml.NewDecoder(bytes.NewReader(text))
	d.KnownFields(true)
	if err := d.Decode(&f); err != nil && !errors.Is(err, io.EOF) {
		return f, plain(err)
	}
	if err := d.Decode(new(any)); !errors.Is(err, io.EOF) {
		return f, errors.New("there is more than one document in the file")
	}
	if err := f.check(); err != nil {
		return f, err
	}
	return f, nil
}

// check fails unless each part of the file can be, and none is there twice. It brings filters
// into their canonical form.
func (f *File) check() error {
	for i, l := range f.Logs {
		settings := access.LogSettings{Public: access.Public(l.Public), Reads: access.Reads(l.Reads)}
		if err := settings.Check(); err != nil {
			return fmt.Errorf("log %d, %s: %w", i+1, l.Name, err)
		}
		if slices.ContainsFunc(f.Logs[:i], func(other Log) bool { return other.Name == l.Name }) {
			return fmt.Errorf("log %d: there is a log %s before", i+1, l.Name)
		}
	}
	for i, o := range f.Issuers {
		if err := access.Issuer(o).Check(); err != nil {
			return fmt.Errorf("issuer %d: %w", i+1, err)
		}
		if !o.Created.IsZero() {
			return fmt.Errorf("issuer %d: created is set by the server", i+1)
		}
		if slices.ContainsFunc(f.Issuers[:i], func(other client.Issuer) bool { return other.Name == o.Name }) {
			return fmt.Errorf("issuer %d: there is an issuer %s before", i+1, o.Name)
		}
	}
	for i := range f.Grants {
		if err := f.Grants[i].check(); err != nil {
			return fmt.Errorf("grant %d: %w", i+1, err)
		}
		if slices.Contains(f.Grants[:i], f.Grants[i]) {
			return fmt.Errorf("grant %d: it is there before", i+1)
		}
	}
	for i, l := range f.Limits {
		if err := access.Limit(l).Check(); err != nil {
			return fmt.Errorf("limit %d: %w", i+1, err)
		}
		if slices.ContainsFunc(f.Limits[:i], func(other client.Limit) bool { return other.Principal == l.Principal }) {
			return fmt.Errorf("limit %d: there is a limit of %s before", i+1, l.Principal)
		}
	}
	return nil
}

func (g *Grant) check() (err error) {
	if g.until, err = parseUntil(g.Until); err != nil {
		return fmt.Errorf("until: %w", err)
	}
	wanted := access.Grant{Principal: g.Principal, Claim: g.Claim, Role: access.Role(g.Role), Log: g.Log, Filter: g.Filter, Source: g.Source}
	if err := wanted.Check(); err != nil {
		return err
	}
	g.Filter = wanted.Filter
	return nil
}

// plain returns an error of the YAML library in one line, without the names of types.
func plain(err error) error {
	wrong, ok := errors.AsType[*yaml.TypeError](err)
	if !ok {
		return err
	}
	var lines []string
	for _, line := range wrong.Errors {
		line, _, _ = strings.Cut(line, " in type ")
		line, _, _ = strings.Cut(line, " into ")
		lines = append(lines, line)
	}
	return errors.New(strings.Join(lines, "; "))
}

// parseUntil reads when a grant ends; never if the text is empty.
func parseUntil(text string) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	for _, layout := range []string{time.DateOnly, time.RFC3339} {
		if at, err := time.Parse(layout, text); err == nil {
			return at.UTC().Truncate(time.Second), nil
		}
	}
	return time.Time{}, fmt.Errorf("%q is no date such as 2027-01-31, and no time such as 2027-01-31T12:00:00Z", text)
}
