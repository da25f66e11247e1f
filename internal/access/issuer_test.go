package access_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/stele-log/stele/internal/access"
	"github.com/stele-log/stele/internal/test/memsystem"
	"github.com/stele-log/stele/pkg/event"
)

// tokens takes any token for good that is for an audience, and what it says for true.
type tokens struct{}

func (tokens) Verify(_ context.Context, i access.Issuer, token string) (map[string]any, time.Time, error) {
	payload, err := base64.RawURLEncoding.DecodeString(strings.Split(token, ".")[1])
	if err != nil {
		return nil, time.Time{}, err
	}
	var claims map[string]any
	if err := json.Unmarshal(payload, &claims); err != nil {
		return nil, time.Time{}, err
	}
	if claims["aud"] != i.Audience {
		return nil, time.Time{}, errors.New("of another audience")
	}
	return claims, start.Add(time.Hour), nil
}

func token(t testing.TB, claims map[string]any) string {
	t.Helper()
	text, err := json.Marshal(claims)
	if err != nil {
		t.Fatal(err)
	}
	return "x." + base64.RawURLEncoding.EncodeToString(text) + ".x"
}

// openTokens opens a control that takes tokens of an issuer named corp.
func openTokens(t testing.TB) (*access.Control, *memsystem.Log) {
	t.Helper()
	l := newLog()
	cfg := config(l)
	cfg.Tokens = tokens{}
	c, err := access.Open(t.Context(), cfg)
	if err == nil {
		err = c.AddIssuer(t.Context(), local, corp)
	}
	if err != nil {
		t.Fatal(err)
	}
	return c, l
}

var corp = access.Issuer{Name: "corp", URL: "https://login.example.com", Audience: "stele"}

func TestTokenNamesAPrincipalOfItsIssuer(t *testing.T) {
	t.Parallel()
	c, l := openTokens(t)
	p := who(t, c, token(t, map[string]any{"iss": corp.URL, "aud": "stele", "sub": "ann", "tenant": 7, "groups": []string{"staff", "audit"}}))
	if p.Name != "corp:ann" || p.Issuer != "corp" || p.Claims["tenant"] != "7" || len(p.Lists["groups"]) != 2 || !p.Person() {
		t.Errorf("the token is of %+v", p)
	}
	grant(t, c, "admin", access.Auditor, "*", "")
	for _, g := range []access.Grant{
		{Claim: "corp:groups=audit", Role: access.Auditor, Log: "*"},
		{Claim: "other:groups=audit", Role: access.Writer, Log: "default"},
		{Claim: "corp:tenant=7", Role: access.Reader, Log: "default", Filter: "subject:{claims.tenant}"},
	} {
		if _, err := c.AddGrant(t.Context(), local, g); err != nil {
			t.Fatal(err)
		}
	}
	may := func(p access.Principal, role access.Role) bool { return c.May(p, "default", role).Allowed }
	if !may(p, access.Auditor) || !may(p, access.Reader) || may(p, access.Writer) {
		t.Error("the grants by claims are not those of the token")
	}
	plain := who(t, c, token(t, map[string]any{"iss": corp.URL, "aud": "stele", "sub": "admin"}))
	if may(plain, access.Auditor) {
		t.Error("a user of an issuer has the grant of a key's principal with the same name")
	}
	sly := who(t, c, token(t, map[string]any{"iss": corp.URL, "aud": "stele", "sub": "groups=audit"}))
	if may(sly, access.Auditor) {
		t.Error("a user with the name of a claim has the claim's grant")
	}
	l.Now = start.Add(2 * time.Hour)
	if permit := c.May(p, "default", access.Auditor); permit.Allowed || !permit.Ended {
		t.Errorf("after the token has ended: %+v", permit)
	}
}

func TestTokensThatNameNobodyAreRefused(t *testing.T) {
	t.Parallel()
	c, _ := openTokens(t)
	for name, claims := range map[string]map[string]any{
		"of another issuer":                           {"iss": "https://evil.example", "aud": "stele", "sub": "ann"},
		"of another audience":                         {"iss": corp.URL, "aud": "other", "sub": "ann"},
		"without a user":                              {"iss": corp.URL, "aud": "stele"},
		"whose user is a number":                      {"iss": corp.URL, "aud": "stele", "sub": 7},
		"whose user has white space":                  {"iss": corp.URL, "aud": "stele", "sub": "ann b"},
		"whose user has a line break":                 {"iss": corp.URL, "aud": "stele", "sub": "ann\n"},
		"whose user has a character that is not seen": {"iss": corp.URL, "aud": "stele", "sub": "ann\u0085"},
		"whose user has what is no character":         {"iss": corp.URL, "aud": "stele", "sub": "ann\uffff"},
		"whose user is too long":                      {"iss": corp.URL, "aud": "stele", "sub": strings.Repeat("a", 300)},
	} {
		if p, err := c.Authenticate(t.Context(), token(t, claims)); !errors.Is(err, access.ErrUnknownKey) {
			t.Errorf("a token %s: %+v, %v", name, p, err)
		}
	}
}

// TestIssuerThatIsReplacedVouchesForNobody removes an issuer and adds another by its name,
// as is done when it was broken into.
func TestIssuerThatIsReplacedVouchesForNobody(t *testing.T) {
	t.Parallel()
	c, l := openTokens(t)
	p := who(t, c, token(t, map[string]any{"iss": corp.URL, "aud": "stele", "sub": "ann"}))
	grant(t, c, "corp:ann", access.Reader, "default", "")
	if !c.May(p, "default", access.Reader).Allowed {
		t.Fatal("the grant gives nothing")
	}
	if err := c.RemoveIssuer(t.Context(), local, "corp"); err != nil {
		t.Fatal(err)
	}
	if permit := c.May(p, "default", access.Reader); permit.Allowed || !permit.Ended {
		t.Errorf("once the issuer is gone: %+v", permit)
	}
	l.Now = start.Add(time.Minute)
	other := corp
	other.URL = "https://new.example.com"
	if err := c.AddIssuer(t.Context(), local, other); err != nil {
		t.Fatal(err)
	}
	if permit := c.May(p, "default", access.Reader); permit.Allowed || !permit.Ended {
		t.Errorf("once another has its name: %+v", permit)
	}
}

func TestUnverifiedEMailAddressNamesNobody(t *testing.T) {
	t.Parallel()
	i := corp
	i.Username = "email"
	for _, test := range []struct {
		verified any
		want     bool
	}{{nil, true}, {true, true}, {"true", true}, {false, false}, {"false", false}, {1.0, false}} {
		claims := map[string]any{"email": "boss@example.com", "email_verified": test.verified}
		if test.verified == nil {
			delete(claims, "email_verified")
		}
		if _, err := i.PrincipalOf(claims, start); (err == nil) != test.want {
			t.Errorf("email_verified %v: %v", test.verified, err)
		}
	}
}

func TestClaimsThatAreTooManyAreNamed(t *testing.T) {
	t.Parallel()
	c, _ := openTokens(t)
	p := who(t, c, token(t, map[string]any{"iss": corp.URL, "aud": "stele", "sub": "ann", "_claim_names": map[string]string{"groups": "src1"}}))
	if len(p.Missing) != 1 || p.Missing[0] != "groups" {
		t.Errorf("missing: %v", p.Missing)
	}
}

func TestIssuersThatCannotBeAreRefused(t *testing.T) {
	t.Parallel()
	c, _ := openTokens(t)
	for name, change := range map[string]func(*access.Issuer){
		"without a name":        func(i *access.Issuer) { i.Name = "" },
		"named like another":    func(i *access.Issuer) { i.Name = "cert" },
		"with a colon":          func(i *access.Issuer) { i.Name = "a:b" },
		"without TLS":           func(i *access.Issuer) { i.URL = "http://login.example.com" },
		"with a query":          func(i *access.Issuer) { i.URL += "?x=1" },
		"with a password":       func(i *access.Issuer) { i.URL = "https://a:b@login.example.com" },
		"without an audience":   func(i *access.Issuer) { i.Audience = "" },
		"with its secret in it": func(i *access.Issuer) { i.Secret = "hunter2" },
		"with any file":         func(i *access.Issuer) { i.Secret = "file:/etc/passwd" },
		"with a file elsewhere": func(i *access.Issuer) { i.Secret = "file:../admin.key" },
		"with any variable":     func(i *access.Issuer) { i.Secret = "env:HOME" },
	} {
		i := corp
		i.Name = "other"
		change(&i)
		if err := c.AddIssuer(t.Context(), local, i); !errors.Is(err, access.ErrInvalid) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("an issuer %s: %v", name, err)
		}
	}
}

func TestKeysAreNotForNamesThatOthersVouchFor(t *testing.T) {
	t.Parallel()
	c, _ := openTokens(t)
	for name, want := range map[string]bool{"corp:ann": false, "cert:spiffe://a/b": false, "*": false, "other:ann": true, "corp": true} {
		_, _, err := c.CreateKey(t.Context(), local, access.Key{Principal: name})
		if (err == nil) != want || err != nil && !errors.Is(err, access.ErrInvalid) {
			t.Errorf("a key of %s: %v", name, err)
		}
	}
}

func TestGrantIsThereOnce(t *testing.T) {
	t.Parallel()
	l := newLog()
	c := open(t, l)
	g := access.Grant{Principal: "a", Role: access.Reader, Log: "default", Filter: "type = a", Until: start.Add(time.Hour)}
	for i, want := range []error{nil, access.ErrExists} {
		if _, err := c.AddGrant(t.Context(), local, g); !errors.Is(err, want) {
			t.Errorf("grant %d: %v, want %v", i, err, want)
		}
	}
	l.Now = start.Add(2 * time.Hour)
	g.Until = l.Now.Add(time.Hour)
	if _, err := c.AddGrant(t.Context(), local, g); err != nil {
		t.Errorf("once it has ended: %v", err)
	}
}

func TestWriterIsBoundToASource(t *testing.T) {
	t.Parallel()
	c := open(t, newLog())
	add := func(g access.Grant) {
		t.Helper()
		if _, err := c.AddGrant(t.Context(), local, g); err != nil {
			t.Fatal(err)
		}
	}
	add(access.Grant{Principal: "edge", Role: access.Writer, Log: "default", Source: "/berlin/"})
	add(access.Grant{Principal: "edge", Role: access.Writer, Log: "default", Source: "/rome/"})
	for source, want := range map[string]bool{"/berlin/7": true, "/rome/": true, "/berlin": false, "/paris/7": false, "": false} {
		if got := c.May(access.Principal{Name: "edge"}, "default", access.Writer); !got.Allowed || got.Narrowed || got.LetsWrite(source) != want {
			t.Errorf("%q: %+v, want %t", source, got, want)
		}
	}
	add(access.Grant{Principal: "edge", Role: access.Writer, Log: "default"})
	if got := c.May(access.Principal{Name: "edge"}, "default", access.Writer); !got.LetsWrite("/paris/7") {
		t.Errorf("with a grant that is bound to nothing: %+v", got)
	}
}

func TestRotatedKeyEndsAfterItsOverlap(t *testing.T) {
	t.Parallel()
	l := newLog()
	c := open(t, l)
	k, old, err := c.CreateKey(t.Context(), local, access.Key{Principal: "a", Claims: map[string]string{"tenant": "7"}, Expires: start.Add(90 * 24 * time.Hour)})
	if err != nil {
		t.Fatal(err)
	}
	l.Now = start.Add(80 * 24 * time.Hour)
	made, text, err := c.RotateKey(t.Context(), local, k.ID, time.Hour)
	if err != nil || !made.Expires.Equal(l.Now.Add(90*24*time.Hour)) {
		t.Fatalf("%+v, %v", made, err)
	}
	if p := who(t, c, text); p.Name != "a" || p.Claims["tenant"] != "7" {
		t.Errorf("the new key is of %+v", p)
	}
	who(t, c, old)
	if _, _, err := c.RotateKey(t.Context(), local, k.ID, time.Hour); !errors.Is(err, access.ErrInvalid) {
		t.Errorf("rotated twice: %v", err)
	}
	l.Now = l.Now.Add(time.Hour)
	who(t, c, text)
	if _, err := c.Authenticate(t.Context(), old); !errors.Is(err, access.ErrUnknownKey) {
		t.Errorf("the old key after its overlap: %v", err)
	}
	if _, _, err := c.RotateKey(t.Context(), local, k.ID, 0); !errors.Is(err, access.ErrNotFound) {
		t.Errorf("a key that has ended is rotated: %v", err)
	}
}

// TestWhatIsRecordedIsFolded has a key expire while its rotation is recorded.
func TestWhatIsRecordedIsFolded(t *testing.T) {
	t.Parallel()
	l := newLog()
	cfg := config(l)
	cfg.Append = func(ctx context.Context, e event.Event) error {
		l.Now = l.Now.Add(time.Minute)
		return l.Append(ctx, e)
	}
	c, err := access.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	k, _, err := c.CreateKey(t.Context(), local, access.Key{Principal: "a", Expires: start.Add(90 * time.Second)})
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := c.RotateKey(t.Context(), local, k.ID, time.Hour); err != nil {
		t.Errorf("a key that ends meanwhile: %v", err)
	}
	open(t, l)
}

// TestClaimIsNoOther has a claim whose name looks like another with a value.
func TestClaimIsNoOther(t *testing.T) {
	t.Parallel()
	c, _ := openTokens(t)
	if _, err := c.AddGrant(t.Context(), local, access.Grant{Claim: "corp:dept=a=b", Role: access.Reader, Log: "default"}); err != nil {
		t.Fatal(err)
	}
	for name, claims := range map[string]map[string]any{"dept=a": {"dept=a": "b"}, "dept": {"dept": "a=b"}} {
		claims["iss"], claims["aud"], claims["sub"] = corp.URL, "stele", "ann"
		if got := c.May(who(t, c, token(t, claims)), "default", access.Reader).Allowed; got != (name == "dept") {
			t.Errorf("the claim %s: %t", name, got)
		}
	}
}

func TestLogsHaveSettings(t *testing.T) {
	t.Parallel()
	l := newLog()
	c := open(t, l)
	if got := c.Settings("default"); got.Public != access.PublicProofs || got.Reads != access.ReadsPeople {
		t.Errorf("of a log that is not recorded: %+v", got)
	}
	ann := access.Change{By: "ann"}
	for range 2 { // the second time it is there
		if err := c.RecordLog(t.Context(), ann, access.Log{Name: "hr", LogSettings: access.LogSettings{Public: access.PublicNothing}}); err != nil {
			t.Fatal(err)
		}
	}
	if len(l.Entries) != 1 {
		t.Errorf("%d entries", len(l.Entries))
	}
	grant(t, c, "reader", access.Reader, "hr", "type:a")
	for name, want := range map[string]bool{"": false, "stranger": false, "reader": true} {
		if got := c.Knows(access.Principal{Name: name}, "hr"); got != want {
			t.Errorf("%q knows of it: %t", name, got)
		}
	}
	if err := c.ChangeLog(t.Context(), ann, "hr", access.LogSettings{Public: access.PublicEntries}); err != nil {
		t.Fatal(err)
	}
	if got := c.Settings("hr"); got.Public != access.PublicEntries || got.Reads != access.ReadsPeople || !c.Knows(access.Principal{}, "hr") {
		t.Errorf("after a change: %+v", got)
	}
	if err := c.ChangeLog(t.Context(), ann, "nope", access.LogSettings{}); !errors.Is(err, access.ErrNotFound) {
		t.Errorf("of a log that is not there: %v", err)
	}
	if err := c.SetLimit(t.Context(), local, access.Limit{Principal: "ann", Logs: 1}); err != nil {
		t.Fatal(err)
	}
	if err := c.MayMake(access.Principal{Name: "ann"}); !errors.Is(err, access.ErrLimit) {
		t.Errorf("a log beyond the limit: %v", err)
	}
	if err := c.MayMake(access.Principal{Name: "bob"}); err != nil {
		t.Errorf("a log of somebody else: %v", err)
	}
}
