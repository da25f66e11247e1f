package access_test

import (
	"errors"
	"log/slog"
	"testing"
	"time"

	"github.com/stele-log/stele/internal/access"
	"github.com/stele-log/stele/internal/test/memsystem"
)

var start = time.Date(2026, 11, 21, 9, 42, 0, 0, time.UTC)

func newLog() *memsystem.Log { return memsystem.New(start) }

// open opens a control on a log.
func open(t testing.TB, l *memsystem.Log) *access.Control {
	t.Helper()
	c, err := access.Open(t.Context(), config(l))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func config(l *memsystem.Log) access.Config {
	return access.Config{Logger: slog.New(slog.DiscardHandler), Now: l.Clock, Read: l.Read, Append: l.Append,
		Signed: func() (uint64, error) { return 0, nil }}
}

var local = access.Change{By: "local"}

// key makes a key of a principal, and returns its id and text.
func key(t testing.TB, c *access.Control, principal string, claims map[string]string) (id, text string) {
	t.Helper()
	k, text, err := c.CreateKey(t.Context(), local, access.Key{Principal: principal, Claims: claims})
	if err != nil {
		t.Fatal(err)
	}
	return k.ID, text
}

func grant(t testing.TB, c *access.Control, principal string, role access.Role, log, filter string) access.Grant {
	t.Helper()
	g, err := c.AddGrant(t.Context(), local, access.Grant{Principal: principal, Role: role, Log: log, Filter: filter})
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// who authenticates a key that must be valid.
func who(t testing.TB, c *access.Control, text string) access.Principal {
	t.Helper()
	p, err := c.Authenticate(t.Context(), text)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

var errBroken = errors.New("the log is broken")
