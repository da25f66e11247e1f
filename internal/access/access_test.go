package access_test

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stele-log/stele/internal/access"
)

func TestKeyIsItsPrincipals(t *testing.T) {
	t.Parallel()
	b := newLog()
	c := open(t, b)
	id, text := key(t, c, "billing", map[string]string{"tenant": "7"})
	if p := who(t, c, text); p.Name != "billing" || p.Key != id || p.Claims["tenant"] != "7" || p.Local {
		t.Errorf("the key is of %+v", p)
	}
	other := strings.Replace(text, id, "aaaaaaaaaa", 1)
	last := "0"
	if strings.HasSuffix(text, "0") {
		last = "1"
	}
	for name, wrong := range map[string]string{
		"nothing": "", "another id": other, "another secret": text[:len(text)-1] + last, "a part": text[:len(text)-1],
		"more": text + "0", "white space": text + " ", "upper case": strings.ToUpper(text), "no prefix": text[6:],
	} {
		if p, err := c.Authenticate(t.Context(), wrong); !errors.Is(err, access.ErrUnknownKey) || p.Name != "" || err != nil && strings.Contains(err.Error(), text[20:]) {
			t.Errorf("%s: %+v, %v", name, p, err)
		}
	}
	for _, entry := range b.Entries {
		if bytes.Contains(entry, []byte(text[20:])) {
			t.Errorf("the key is in the log: %s", entry)
		}
	}
}

func TestKeyEndsWhenItIsRevokedOrExpires(t *testing.T) {
	t.Parallel()
	b := newLog()
	c := open(t, b)
	id, revoked := key(t, c, "a", nil)
	_, expiring, err := c.CreateKey(t.Context(), local, access.Key{Principal: "b", Expires: start.Add(time.Hour)})
	if err != nil {
		t.Fatal(err)
	}
	who(t, c, revoked)
	who(t, c, expiring)
	if err := c.RevokeKey(t.Context(), local, id); err != nil {
		t.Fatal(err)
	}
	if err := c.RevokeKey(t.Context(), local, id); !errors.Is(err, access.ErrNotFound) {
		t.Errorf("revoked twice: %v", err)
	}
	b.Now = start.Add(time.Hour)
	for _, text := range []string{revoked, expiring} {
		if _, err := c.Authenticate(t.Context(), text); !errors.Is(err, access.ErrUnknownKey) {
			t.Errorf("a key that has ended: %v", err)
		}
	}
}

func TestGrantsGiveRolesOnLogs(t *testing.T) {
	t.Parallel()
	b := newLog()
	c := open(t, b)
	grant(t, c, "w", access.Writer, "default", "")
	grant(t, c, "w", access.Reader, "prod-*", "")
	grant(t, c, "r", access.Reader, "*", "")
	grant(t, c, "s", access.Reader, "system", "")
	grant(t, c, "a", access.Auditor, "*", "")
	grant(t, c, "x", access.Admin, "*", "")
	if _, err := c.AddGrant(t.Context(), local, access.Grant{Principal: "e", Role: access.Writer, Log: "default", Until: start.Add(time.Hour)}); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		principal string
		roles     []access.Role
		log       string
		want      bool
	}{
		{"w", []access.Role{access.Writer}, "default", true},
		{"w", []access.Role{access.Writer}, "other", false},
		{"w", []access.Role{access.Writer}, "default-2", false},
		{"w", []access.Role{access.Reader}, "default", false},
		{"w", []access.Role{access.Reader, access.Auditor}, "prod-eu", true},
		{"w", []access.Role{access.Reader}, "pro", false},
		{"r", []access.Role{access.Reader}, "default", true},
		{"r", []access.Role{access.Reader}, "system", false},
		{"s", []access.Role{access.Reader}, "system", true},
		{"a", []access.Role{access.Reader, access.Auditor}, "system", true},
		{"a", []access.Role{access.Writer}, "default", false},
		{"x", []access.Role{access.Admin}, "*", true},
		{"x", []access.Role{access.Reader, access.Auditor}, "default", false},
		{"a", []access.Role{access.Admin}, "*", false},
		{"r", []access.Role{access.Auditor}, "*", false},
		{"e", []access.Role{access.Writer}, "default", true},
		{"nobody", []access.Role{access.Reader}, "default", false},
		{"", []access.Role{access.Reader}, "default", false},
	} {
		if got := c.May(access.Principal{Name: test.principal}, test.log, test.roles...); got.Allowed != test.want || got.Allowed && got.Narrowed {
			t.Errorf("%s as %v on %s: %+v, want %t", test.principal, test.roles, test.log, got, test.want)
		}
	}
	if !c.May(access.Principal{Local: true}, "default", access.Writer).Allowed {
		t.Error("somebody local may not write")
	}
	b.Now = start.Add(time.Hour)
	if c.May(access.Principal{Name: "e"}, "default", access.Writer).Allowed {
		t.Error("a grant that has ended gives a role")
	}
}

func TestFilterNarrowsAReader(t *testing.T) {
	t.Parallel()
	c := open(t, newLog())
	grant(t, c, "portal", access.Reader, "default", "subject:{claims.tenant}")
	grant(t, c, "both", access.Reader, "default", "type:a")
	grant(t, c, "both", access.Reader, "default", "type:b")
	grant(t, c, "wide", access.Reader, "default", "type:a")
	wide := grant(t, c, "wide", access.Reader, "default", "")
	entry := func(kind, subject string) []byte {
		return fmt.Appendf(nil, `{"type":%q,"subject":%q}`, kind, subject)
	}
	for _, test := range []struct {
		p                access.Principal
		entry            []byte
		allowed, visible bool
	}{
		{access.Principal{Name: "portal", Claims: map[string]string{"tenant": "7"}}, entry("a", "7"), true, true},
		{access.Principal{Name: "portal", Claims: map[string]string{"tenant": "7"}}, entry("a", "8"), true, false},
		{access.Principal{Name: "portal", Claims: map[string]string{"tenant": `7" or type:"a`}}, entry("a", "8"), true, false},
		{access.Principal{Name: "portal"}, entry("a", ""), false, false},
		{access.Principal{Name: "portal", Claims: map[string]string{"tenant": ""}}, entry("a", ""), false, false},
		{access.Principal{Name: "both"}, entry("a", ""), true, true},
		{access.Principal{Name: "both"}, entry("b", ""), true, true},
		{access.Principal{Name: "both"}, entry("c", ""), true, false},
		{access.Principal{Name: "both"}, []byte("no entry"), true, false},
		{access.Principal{Name: "wide"}, entry("c", ""), true, true},
	} {
		permit := c.May(test.p, "default", access.Reader)
		if permit.Allowed != test.allowed || test.allowed && permit.Lets(test.entry) != test.visible {
			t.Errorf("%+v and %s: %+v", test.p, test.entry, permit)
		}
	}
	if err := c.RemoveGrant(t.Context(), local, wide.ID); err != nil {
		t.Fatal(err)
	}
	if permit := c.May(access.Principal{Name: "wide"}, "default", access.Reader); permit.Lets(entry("c", "")) {
		t.Errorf("without the grant that has no filter: %+v", permit)
	}
}

func TestChangesThatCannotBeAreRefused(t *testing.T) {
	t.Parallel()
	b := newLog()
	c := open(t, b)
	for name, g := range map[string]access.Grant{
		"no principal":           {Role: access.Reader, Log: "default"},
		"white space in it":      {Principal: "a b", Role: access.Reader, Log: "default"},
		"no role":                {Principal: "a", Log: "default"},
		"a role there is not":    {Principal: "a", Role: "owner", Log: "default"},
		"no log":                 {Principal: "a", Role: access.Reader},
		"a log there cannot be":  {Principal: "a", Role: access.Reader, Log: "Default"},
		"a star in the middle":   {Principal: "a", Role: access.Reader, Log: "a*b"},
		"an admin of one log":    {Principal: "a", Role: access.Admin, Log: "default"},
		"a writer of the system": {Principal: "a", Role: access.Writer, Log: "system"},
		"a writer with a filter": {Principal: "a", Role: access.Writer, Log: "default", Filter: "type:a"},
		"a filter that is wrong": {Principal: "a", Role: access.Reader, Log: "default", Filter: "type:"},
	} {
		if _, err := c.AddGrant(t.Context(), local, g); !errors.Is(err, access.ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, _, err := c.CreateKey(t.Context(), local, access.Key{Principal: ""}); !errors.Is(err, access.ErrInvalid) {
		t.Errorf("a key of nobody: %v", err)
	}
	if err := c.RemoveGrant(t.Context(), local, "aaaaaaaaaa"); !errors.Is(err, access.ErrNotFound) {
		t.Errorf("a grant that is not there: %v", err)
	}
	if len(b.Entries) != 0 {
		t.Errorf("%d changes are in the log", len(b.Entries))
	}
}

func TestLastAdminStays(t *testing.T) {
	t.Parallel()
	b := newLog()
	c := open(t, b)
	id, _ := key(t, c, "admin", nil)
	if c.HasAdmin() {
		t.Error("there is an admin without a grant")
	}
	g := grant(t, c, "admin", access.Admin, "*", "")
	if !c.HasAdmin() {
		t.Error("there is no admin")
	}
	// One who will end does not count.
	if _, _, err := c.CreateKey(t.Context(), local, access.Key{Principal: "admin", Expires: start.Add(time.Hour)}); err != nil {
		t.Fatal(err)
	}
	if err := c.RevokeKey(t.Context(), local, id); !errors.Is(err, access.ErrLastAdmin) {
		t.Errorf("the last key: %v", err)
	}
	if err := c.RemoveGrant(t.Context(), local, g.ID); !errors.Is(err, access.ErrLastAdmin) {
		t.Errorf("the last grant: %v", err)
	}
	key(t, c, "admin", nil)
	if err := c.RevokeKey(t.Context(), local, id); err != nil {
		t.Errorf("one of two keys: %v", err)
	}
}
