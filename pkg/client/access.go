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
	Live      bool              `json:"live"`          // it can be used
	Text      string            `json:"key,omitempty"` // the key itself, when it is made and never again
}

// A NewKey describes a key to make.
type NewKey struct {
	Principal string            `json:"principal"`
	Expires   time.Time         `json:"expires,omitzero"` // zero is never
	Claims    map[string]string `json:"claims,omitempty"` // for filters
}

// A Grant gives a principal a role.
type Grant struct {
	ID        string    `json:"id,omitempty"`
	Principal string    `json:"principal"`
	Role      string    `json:"role"`             // writer, reader, auditor or admin
	Log       string    `json:"log"`              // a name, the beginning of one with * after it, or * for all
	Filter    string    `json:"filter,omitempty"` // of a reader: a query
	Until     time.Time `json:"until,omitzero"`   // when it ends; zero is never
}

// A Caller is who a client is to the server.
type Caller struct {
	Principal string            `json:"principal"` // empty without a token
	Key       string            `json:"key,omitempty"`
	Local     bool              `json:"local,omitempty"` // may do everything, as somebody on the server's machine
	Claims    map[string]string `json:"claims,omitempty"`
	Grants    []Grant           `json:"grants"`
}

// A State is who may do what, as the first Size entries of the server's log of its
// configuration make it.
type State struct {
	Size   uint64  `json:"size"`
	Keys   []Key   `json:"keys"`
	Grants []Grant `json:"grants"`
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

// change sends a request that changes the server, once, and reads the answer into reply
// unless that is nil.
func (c *Client) change(ctx context.Context, method, path string, body, reply any) error {
	r := request{method: method, path: path, once: true}
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
