// Package logintoken keeps the tokens of somebody who has logged in to servers, in a file in
// their configuration folder that only they can read.
package logintoken

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/stele-log/stele/internal/durable"
)

// file is where tokens are kept: an object of them by the servers' URLs.
func file() (string, error) {
	dir, err := os.UserConfigDir()
	return filepath.Join(dir, "stele", "tokens.json"), err
}

// read returns the tokens that are kept.
func read() (path string, tokens map[string]string, err error) {
	if path, err = file(); err != nil {
		return "", nil, err
	}
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return path, map[string]string{}, nil
	}
	if err != nil {
		return path, nil, err
	}
	if err := json.Unmarshal(text, &tokens); err != nil {
		return path, nil, fmt.Errorf("%s is not a file that login has made", path)
	}
	if tokens == nil {
		tokens = map[string]string{}
	}
	return path, tokens, nil
}

// Of returns the token for a server; empty if there is none that only its user can
// read.
func Of(url string) string {
	path, tokens, err := read()
	if err != nil || len(durable.KeysOpenToOthers(path)) > 0 {
		return ""
	}
	return tokens[strings.TrimSuffix(url, "/")]
}

// Keep keeps the token for a server, or forgets it if it is empty.
func Keep(url, token string) error {
	path, tokens, err := read()
	if err != nil {
		return err
	}
	delete(tokens, strings.TrimSuffix(url, "/"))
	if token != "" {
		tokens[strings.TrimSuffix(url, "/")] = token
	}
	text, err := json.Marshal(tokens)
	if err == nil {
		err = durable.MkdirAll(durable.System, filepath.Dir(path), 0o700)
	}
	if err == nil {
		err = durable.Replace(durable.System, path, text, 0o600)
	}
	return err
}
