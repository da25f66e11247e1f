package engine

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/mod/sumdb/note"

	"github.com/stele-log/stele/internal/publisher"
	"github.com/stele-log/stele/pkg/checkpoint"
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
