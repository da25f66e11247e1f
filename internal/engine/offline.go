package engine

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/mod/sumdb/note"

	"github.com/stele-log/stele/internal/headmac"
	"github.com/stele-log/stele/internal/publisher"
	"github.com/stele-log/stele/pkg/checkpoint"
	"github.com/stele-log/stele/storage"
)

// KeysOf returns the verifiers of a log's signing keys, Ed25519 first, from a data
// folder that no server uses. The error is ErrBadName, or fs.ErrNotExist if the
// log has no Ed25519 key.
func KeysOf(dir, name string) ([]note.Verifier, error) {
	if err := checkName(name); err != nil {
		return nil, err
	}
	d := dirOf(dir, name)
	skey, err := os.ReadFile(d.path(ed25519Key))
	if err != nil {
		return nil, err
	}
	signer, err := checkpoint.NewSigner(strings.TrimSpace(string(skey)))
	if err != nil {
		return nil, err
	}
	_, verifiers, _, err := d.readKeys(signer.Name())
	return verifiers, err
}

// RecordOf returns the record of what a log in a data folder has signed last.
func RecordOf(dir, name string) publisher.Record { return dirOf(dir, name).record() }

// HeadKeyOf returns the key for the MACs of a log's heads, or fs.ErrNotExist.
func HeadKeyOf(dir, name string) (headmac.Key, error) { return dirOf(dir, name).readHeadKey() }

// OpenHeads returns a stored log whose heads carry MACs under the key in its data folder,
// as an Engine opens it.
func OpenHeads(ctx context.Context, dir string, stored storage.Log) (*headmac.Log, error) {
	return dirOf(dir, stored.Info().Name).openHeads(ctx, stored)
}

// LogsIn returns the names of the logs that have a folder in a data folder, in order.
func LogsIn(dir string) ([]string, error) {
	entries, err := os.ReadDir(filepath.Join(dir, "logs"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var names []string
	for _, e := range entries {
		if e.IsDir() && checkName(e.Name()) == nil {
			names = append(names, e.Name())
		}
	}
	return names, nil
}

func dirOf(dir, name string) logDir { return logDir(filepath.Join(dir, "logs", name)) }
