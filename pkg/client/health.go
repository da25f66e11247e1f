package client

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
)

// Health is what a server says of itself at /readyz.
type Health struct {
	Status  string            `json:"status"` // "ok" or "unavailable"
	Version string            `json:"version,omitempty"`
	Reason  string            `json:"reason,omitempty"` // why it is unavailable
	Logs    map[string]string `json:"logs,omitempty"`   // by name: what keeps a log from being written, signed or cosigned
}

// maxHealth is the size of the longest answer of /readyz that is read, in bytes.
const maxHealth = 1 << 20

// Health asks the server once whether events can be appended to a log, or to any log
// if the name is empty. An answer that they cannot is no error.
func (c *Client) Health(ctx context.Context, log string) (Health, error) {
	path := "/readyz"
	if log != "" {
		path += "?log=" + url.QueryEscape(log)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.base+path, nil)
	if err != nil {
		return Health{}, err
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return Health{}, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxHealth))
	if err != nil {
		return Health{}, fmt.Errorf("GET %s: read the answer: %w", c.base+path, err)
	}
	if resp.StatusCode != http.StatusOK && resp.StatusCode != http.StatusServiceUnavailable {
		return Health{}, problemIn(resp, body)
	}
	var h Health
	if json.Unmarshal(body, &h) != nil || h.Status == "" {
		return Health{}, problemIn(resp, body) // of a proxy before the server
	}
	return h, nil
}
