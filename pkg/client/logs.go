package client

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"time"
)

// A LogInfo is the server's description of a log. Its keys are only as trustworthy
// as the server: verifiers need them from elsewhere.
type LogInfo struct {
	Name      string    `json:"name"`
	Origin    string    `json:"origin"`
	VKey      string    `json:"vkey,omitempty"` // verifier key, Ed25519
	VKeys     []string  `json:"vkeys"`          // all verifier keys, Ed25519 first
	Created   time.Time `json:"created"`
	Size      uint64    `json:"size"`              // entries
	Published uint64    `json:"published"`         // entries under the newest checkpoint
	Writer    string    `json:"writer,omitempty"`  // URL of the server that holds its lease, if known
	Problem   string    `json:"problem,omitempty"` // why the log cannot be used, or is not signed

	Settings *LogSettings `json:"settings,omitempty"` // of a server with access control
}

// A NewLog describes a log to create.
type NewLog struct {
	Name    string `json:"name"`              // in URLs: 1 to 63 of a-z, 0-9 and "-", not "-" at either end
	Origin  string `json:"origin,omitempty"`  // in checkpoints, for ever; made by the server if empty
	MLDSA44 bool   `json:"mldsa44,omitempty"` // sign with an ML-DSA-44 key too
	LogSettings
}

// Logs returns the descriptions of all logs of the server, sorted by name.
func (c *Client) Logs(ctx context.Context) ([]LogInfo, error) {
	var list struct {
		Logs []LogInfo `json:"logs"`
	}
	if err := c.getJSON(ctx, "/logs", &list); err != nil {
		return nil, fmt.Errorf("list logs: %w", err)
	}
	return list.Logs, nil
}

// Info returns the server's description of the client's log. If there is no such
// log, the error is a [*Problem] with status 404.
func (c *Client) Info(ctx context.Context) (LogInfo, error) {
	var info LogInfo
	if err := c.getJSON(ctx, c.path(""), &info); err != nil {
		return LogInfo{}, fmt.Errorf("show log %s: %w", c.log, err)
	}
	return info, nil
}

// CreateLog creates a log on the server, whatever the log of the client is. The
// request is not tried again: after an error other than a [*Problem] the log may
// exist.
func (c *Client) CreateLog(ctx context.Context, n NewLog) (info LogInfo, err error) {
	if err := c.change(ctx, http.MethodPost, "/logs", n, &info); err != nil {
		return LogInfo{}, fmt.Errorf("create log %.80s: %w", n.Name, err)
	}
	return info, nil
}

// Entry returns the bytes of the entry at an index, as the server sends them.
// Nothing is verified; [ReadEntries] proves entries, and a receipt proves one.
func (c *Client) Entry(ctx context.Context, index uint64) ([]byte, error) {
	entry, err := c.get(ctx, c.path("/events/"+strconv.FormatUint(index, 10)))
	if err != nil {
		return nil, fmt.Errorf("get entry %d: %w", index, err)
	}
	return entry, nil
}

// Receipt returns the receipt of the entry at an index: the text of a C2SP
// tlog-proof (https://c2sp.org/tlog-proof), unverified. [proof.ParseReceipt] parses
// it, and the receipt's Verify verifies it. If no published checkpoint covers the
// entry yet, Receipt waits for one if wait is true, for as long as the server
// does; otherwise the error is a [*Problem] with status 404.
//
// [proof.ParseReceipt]: https://pkg.go.dev/github.com/stele-log/stele/pkg/proof#ParseReceipt
func (c *Client) Receipt(ctx context.Context, index uint64, wait bool) ([]byte, error) {
	path := c.path("/events/" + strconv.FormatUint(index, 10) + "/receipt")
	if wait {
		path += "?wait=published"
	}
	receipt, err := c.get(ctx, path)
	if err != nil {
		return nil, fmt.Errorf("get receipt of entry %d: %w", index, err)
	}
	return receipt, nil
}
