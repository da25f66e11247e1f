package client

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// A Key lets whoever has its text act as a principal.
type Key struct {
	ID        string            `json:"id"`
	Principal string            `json:"principal"`
	Hash      string            `json:"sha256"` // of the text, in hexadecimal
	Claims    map[string]string `json:"claims,omitempty"`
	Expires   time.Time         `json:"expires,omitzero"` // zero is never
	Revoked   bool              `json:"revoked,omitempty"`
	Rotated   bool              `json:"rotated,omitempty"` // another takes its place
	Created   time.Time         `json:"created,omitzero"`
	Live      bool              `json:"live"`               // it can be used
	LastUsed  time.Time         `json:"last_used,omitzero"` // on that server, since it started
	Text      string            `json:"key,omitempty"`      // the key itself, when it is made and never again
}

// A NewKey describes a key to make.
type NewKey struct {
	Principal string            `json:"principal"`
	Expires   time.Time         `json:"expires,omitzero"` // zero is never
	Claims    map[string]string `json:"claims,omitempty"` // for filters
}

// A Grant gives a role to a principal, or to everybody whose token has a claim.
type Grant struct {
	ID        string    `json:"id,omitempty"`
	Principal string    `json:"principal,omitempty"`
	Claim     string    `json:"claim,omitempty"`  // in place of a principal: ISSUER:NAME=VALUE
	Role      string    `json:"role"`             // writer, reader, auditor, admin or officer
	Log       string    `json:"log"`              // a name, the beginning of one with * after it, or * for all
	Filter    string    `json:"filter,omitempty"` // of a reader: a query
	Source    string    `json:"source,omitempty"` // of a writer: what the source of its events begins with
	Until     time.Time `json:"until,omitzero"`   // when it ends; zero is never
}

// An Explanation is why somebody may, or may not, act in a role on a log.
type Explanation struct {
	Principal string   `json:"principal"`
	Role      string   `json:"role"`
	Log       string   `json:"log"`
	Allowed   bool     `json:"allowed"`
	Filter    string   `json:"filter,omitempty"`  // what a reader may see
	Sources   []string `json:"sources,omitempty"` // what the source of a writer's events begins with
	Reasons   []Reason `json:"reasons"`           // one for each grant
	Keys      int      `json:"keys"`              // of the principal that can be used
}

// A Reason is what a grant has to do with an Explanation.
type Reason struct {
	Grant  Grant  `json:"grant"`
	Counts bool   `json:"counts"`
	Why    string `json:"why"`
}

// A Limit is how much a principal may ask for. What is 0 is not limited.
type Limit struct {
	Principal string  `json:"principal"`          // or * for each that has no limit of its own
	Events    float64 `json:"events,omitempty"`   // appended a second
	Bytes     float64 `json:"bytes,omitempty"`    // of events appended a second
	Requests  int     `json:"requests,omitempty"` // at a time, streams too
	Logs      int     `json:"logs,omitempty"`     // made by it, in all
}

// An Issuer is an OpenID provider whose tokens say who a request comes from. Its principals
// are named NAME:USER.
type Issuer struct {
	Name     string `json:"name"`
	URL      string `json:"url"`
	Audience string `json:"audience"`           // the id of the client that the issuer knows the server by
	Username string `json:"username,omitempty"` // the claim that names the user; sub if empty
	Secret   string `json:"secret,omitempty"`   // of the client: env:STELE_SECRET_NAME or file:NAME on the server

	Created time.Time `json:"created,omitzero"` // set by the server
}

// LogSettings are what can be changed of a log.
type LogSettings struct {
	Public string `json:"public,omitempty"` // what needs no role: nothing, proofs or entries
	Reads  string `json:"reads,omitempty"`  // whose reads are recorded: none, people or all
}

// A Caller is who a client is to the server.
type Caller struct {
	Principal string              `json:"principal"` // empty without a token
	Key       string              `json:"key,omitempty"`
	Issuer    string              `json:"issuer,omitempty"` // of the token, if it is one
	Local     bool                `json:"local,omitempty"`  // may do everything, as somebody on the server's machine
	Claims    map[string]string   `json:"claims,omitempty"`
	Lists     map[string][]string `json:"lists,omitempty"` // claims with several values, such as groups
	Grants    []Grant             `json:"grants"`
}

// A State is who may do what, as the first Size entries of the server's log of its
// configuration make it.
type State struct {
	Size    uint64        `json:"size"`
	Keys    []Key         `json:"keys"`
	Grants  []Grant       `json:"grants"`
	Logs    []RecordedLog `json:"logs"`
	Limits  []Limit       `json:"limits"`
	Issuers []Issuer      `json:"issuers"`
}

// A RecordedLog is what the configuration says of a log.
type RecordedLog struct {
	Name    string    `json:"name"`
	Origin  string    `json:"origin"`
	VKeys   []string  `json:"vkeys"`
	Created time.Time `json:"created,omitzero"`
	By      string    `json:"by,omitempty"` // who made it
	LogSettings
}

// Whoami returns who the client is to the server, and what it may do.
func (c *Client) Whoami(ctx context.Context) (who Caller, err error) {
	if err := c.getJSON(ctx, "/whoami", &who); err != nil {
		return who, fmt.Errorf("ask who I am: %w", err)
	}
	return who, nil
}

// State returns who may do what: now, or if at is not nil right after the entry with that
// index.
func (c *Client) State(ctx context.Context, at *uint64) (s State, err error) {
	path := "/state"
	if at != nil {
		path += "?at=" + strconv.FormatUint(*at, 10)
	}
	if err := c.getJSON(ctx, path, &s); err != nil {
		return s, fmt.Errorf("read the configuration: %w", err)
	}
	return s, nil
}

// Keys returns all keys, revoked ones too, without their texts.
func (c *Client) Keys(ctx context.Context) ([]Key, error) {
	var list struct{ Keys []Key }
	if err := c.getJSON(ctx, "/keys", &list); err != nil {
		return nil, fmt.Errorf("list keys: %w", err)
	}
	return list.Keys, nil
}

// CreateKey makes a key, whose Text the server does not keep. The request is not tried
// again.
func (c *Client) CreateKey(ctx context.Context, n NewKey) (k Key, err error) {
	if err := c.change(ctx, http.MethodPost, "/keys", n, &k); err != nil {
		return k, fmt.Errorf("make a key: %w", err)
	}
	return k, nil
}

// RevokeKey ends a key.
func (c *Client) RevokeKey(ctx context.Context, id string) error {
	if err := c.change(ctx, http.MethodDelete, "/keys/"+url.PathEscape(id), nil, nil); err != nil {
		return fmt.Errorf("revoke key %.40s: %w", id, err)
	}
	return nil
}

// RotateKey makes a key in the place of another, which ends after a while. The request is not
// tried again.
func (c *Client) RotateKey(ctx context.Context, id string, overlap time.Duration) (k Key, err error) {
	body := map[string]int64{"overlap_seconds": int64(overlap / time.Second)}
	if err := c.change(ctx, http.MethodPost, "/keys/"+url.PathEscape(id)+"/rotate", body, &k); err != nil {
		return k, fmt.Errorf("rotate key %.40s: %w", id, err)
	}
	return k, nil
}

// Grants returns all grants, ended ones too.
func (c *Client) Grants(ctx context.Context) ([]Grant, error) {
	var list struct{ Grants []Grant }
	if err := c.getJSON(ctx, "/grants", &list); err != nil {
		return nil, fmt.Errorf("list grants: %w", err)
	}
	return list.Grants, nil
}

// AddGrant gives a principal a role. The request is not tried again.
func (c *Client) AddGrant(ctx context.Context, g Grant) (made Grant, err error) {
	if err := c.change(ctx, http.MethodPost, "/grants", g, &made); err != nil {
		return made, fmt.Errorf("add a grant: %w", err)
	}
	return made, nil
}

// RemoveGrant takes a grant back.
func (c *Client) RemoveGrant(ctx context.Context, id string) error {
	if err := c.change(ctx, http.MethodDelete, "/grants/"+url.PathEscape(id), nil, nil); err != nil {
		return fmt.Errorf("remove grant %.40s: %w", id, err)
	}
	return nil
}

// Explain returns why a principal may, or may not, act in a role on a log.
func (c *Client) Explain(ctx context.Context, principal, role, log string) (e Explanation, err error) {
	q := url.Values{"principal": {principal}, "role": {role}, "log": {log}}
	if err := c.getJSON(ctx, "/grants/explain?"+q.Encode(), &e); err != nil {
		return e, fmt.Errorf("explain grants: %w", err)
	}
	return e, nil
}

// Limits returns all limits.
func (c *Client) Limits(ctx context.Context) ([]Limit, error) {
	var list struct{ Limits []Limit }
	if err := c.getJSON(ctx, "/limits", &list); err != nil {
		return nil, fmt.Errorf("list limits: %w", err)
	}
	return list.Limits, nil
}

// SetLimit gives a principal a limit, in place of the one that it has.
func (c *Client) SetLimit(ctx context.Context, l Limit) error {
	if err := c.change(ctx, http.MethodPut, "/limits", l, nil); err != nil {
		return fmt.Errorf("set a limit: %w", err)
	}
	return nil
}

// RemoveLimit takes a principal's limit away.
func (c *Client) RemoveLimit(ctx context.Context, principal string) error {
	if err := c.change(ctx, http.MethodDelete, "/limits?"+url.Values{"principal": {principal}}.Encode(), nil, nil); err != nil {
		return fmt.Errorf("remove the limit of %.40s: %w", principal, err)
	}
	return nil
}

// Issuers returns all issuers.
func (c *Client) Issuers(ctx context.Context) ([]Issuer, error) {
	var list struct{ Issuers []Issuer }
	if err := c.getJSON(ctx, "/issuers", &list); err != nil {
		return nil, fmt.Errorf("list issuers: %w", err)
	}
	return list.Issuers, nil
}

// AddIssuer has tokens of an issuer say who a request comes from.
func (c *Client) AddIssuer(ctx context.Context, i Issuer) error {
	if err := c.change(ctx, http.MethodPost, "/issuers", i, nil); err != nil {
		return fmt.Errorf("add an issuer: %w", err)
	}
	return nil
}

// RemoveIssuer ends all tokens of an issuer.
func (c *Client) RemoveIssuer(ctx context.Context, name string) error {
	if err := c.change(ctx, http.MethodDelete, "/issuers/"+url.PathEscape(name), nil, nil); err != nil {
		return fmt.Errorf("remove issuer %.40s: %w", name, err)
	}
	return nil
}

// ChangeLog changes settings of the client's log; those that are empty stay as they are.
func (c *Client) ChangeLog(ctx context.Context, settings LogSettings) error {
	if err := c.change(ctx, http.MethodPatch, c.path(""), settings, nil); err != nil {
		return fmt.Errorf("change the log %.80s: %w", c.log, err)
	}
	return nil
}

// IfState returns a client whose changes of the configuration are refused, with a [*Problem]
// of status 409, unless the state is of that size: see [State].
func (c *Client) IfState(size uint64) *Client {
	changed := *c
	changed.ifState = &size
	return &changed
}

// ForLog returns a client of another log of the server.
func (c *Client) ForLog(name string) *Client {
	changed := *c
	changed.log = name
	return &changed
}

// change sends a request that changes the server, once, and reads the answer into reply
// unless that is nil.
func (c *Client) change(ctx context.Context, method, path string, body, reply any) error {
	r := request{method: method, path: path, once: true, ifState: c.ifState}
	if body != nil {
		text, err := json.Marshal(body)
		if err != nil {
			return err
		}
		r.contentType, r.body = "application/json", text
	}
	answer, err := c.do(ctx, r)
	if err != nil || reply == nil {
		return err
	}
	return unmarshal(answer, reply)
}
