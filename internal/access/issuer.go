package access

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
)

// An Issuer is an OpenID provider whose tokens say who a request comes from. Its
// principals are named NAME:USER, so that it can vouch for none but its own.
type Issuer struct {
	Name     string `json:"name"`
	URL      string `json:"url"`                // as in the tokens' iss
	Audience string `json:"audience"`           // as in the tokens' aud: the client's id
	Username string `json:"username,omitempty"` // the claim that names the user; sub if empty
	Secret   string `json:"secret,omitempty"`   // of the client, to sign people in: env:STELE_SECRET_NAME or file:NAME, never itself

	Created time.Time `json:"created,omitzero"`
}

var (
	issuerPattern = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?$`)
	secretPattern = regexp.MustCompile(`^(env:STELE_SECRET_[A-Za-z0-9_]+|file:[A-Za-z0-9_][A-Za-z0-9._-]*)$`)
)

// certificateIssuer begins the names of principals that a client certificate names.
const certificateIssuer = "cert"

// Check fails unless the issuer can be added.
func (i Issuer) Check() error {
	if !issuerPattern.MatchString(i.Name) || i.Name == certificateIssuer {
		return fmt.Errorf("%w: an issuer's name is 1 to 40 of a-z, 0-9 and \"-\", and not %s", ErrInvalid, certificateIssuer)
	}
	u, err := url.Parse(i.URL)
	if err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" || len(i.URL) > 500 ||
		u.Scheme != "https" && (u.Scheme != "http" || !isLoopback(u.Hostname())) {
		return fmt.Errorf("%w: an issuer's url begins with https:// and has neither query nor fragment; http:// is for this machine only", ErrInvalid)
	}
	if i.Audience == "" || len(i.Audience) > 200 {
		return fmt.Errorf("%w: audience is what the issuer's tokens have as aud: the id of the client that it knows this server by", ErrInvalid)
	}
	if len(i.Username) > 100 {
		return fmt.Errorf("%w: username is the name of a claim", ErrInvalid)
	}
	if i.Secret != "" && !secretPattern.MatchString(i.Secret) {
		return fmt.Errorf("%w: secret says where the secret is, as env:STELE_SECRET_NAME or file:NAME, a file in the folder secrets of the data folder: it is not itself part of the configuration", ErrInvalid)
	}
	return nil
}

func isLoopback(host string) bool { return host == "localhost" || host == "127.0.0.1" || host == "::1" }

// Tokens verifies tokens of issuers.
type Tokens interface {
	// Verify returns the claims of a token, if its issuer has signed it for this server and
	// it is in force. The error is ErrUnavailable if the issuer's keys are not known.
	Verify(ctx context.Context, i Issuer, token string) (claims map[string]any, ends time.Time, err error)
}

// ErrUnavailable means that an issuer does not answer, and that its keys are not known
// from before, or from too long ago.
var ErrUnavailable = errors.New("the issuer of this token does not answer, so it cannot be verified")

// issuerOf returns what a token says of who has issued it, unverified.
func issuerOf(token string) string {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return ""
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return ""
	}
	var claims struct {
		Issuer string `json:"iss"`
	}
	if json.Unmarshal(payload, &claims) != nil {
		return ""
	}
	return claims.Issuer
}

// PrincipalOf returns whom the claims of a verified token name.
func (i Issuer) PrincipalOf(claims map[string]any, ends time.Time) (Principal, error) {
	name := i.Username
	if name == "" {
		name = "sub"
	}
	user, ok := claims[name].(string)
	if !ok || user == "" {
		return Principal{}, fmt.Errorf("%w: it has no claim %.100s, which names the user", ErrUnknownKey, name)
	}
	if verified, ok := claims["email_verified"]; name == "email" && ok && verified != true && verified != "true" {
		return Principal{}, fmt.Errorf("%w: its issuer has not verified the e-mail address", ErrUnknownKey)
	}
	p := Principal{Name: i.Name + ":" + user, Issuer: i.Name, IssuerCreated: i.Created, Claims: map[string]string{}, Lists: map[string][]string{}, Ends: ends}
	if err := checkPrincipal(p.Name); err != nil {
		return Principal{}, fmt.Errorf("%w: its claim %.100s cannot name a user", ErrUnknownKey, name)
	}
	for name, value := range claims {
		if list, ok := value.([]any); ok {
			for _, each := range list {
				if text, ok := claimText(each); ok {
					p.Lists[name] = append(p.Lists[name], text)
				}
			}
		} else if text, ok := claimText(value); ok {
			p.Claims[name] = text
		}
	}
	// SPEC: OpenID Connect Core 1.0 section 5.6.2: a claim that was left out of the token
	// is named in _claim_names. Entra does so with more than 200 groups.
	elsewhere, _ := claims["_claim_names"].(map[string]any)
	for name := range elsewhere {
		p.Missing = append(p.Missing, name)
	}
	return p, nil
}

// claimText returns the text of a claim that has one.
func claimText(value any) (string, bool) {
	switch v := value.(type) {
	case string:
		return v, true
	case bool:
		return strconv.FormatBool(v), true
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64), true
	}
	return "", false
}
