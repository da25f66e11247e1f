package engine

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/mod/sumdb/note"

	"github.com/stele-log/stele/internal/keyfile"
	"github.com/stele-log/stele/internal/publisher"
	"github.com/stele-log/stele/pkg/checkpoint"
	"github.com/stele-log/stele/pkg/cosignature"
)

// A logDir is the folder with a log's keys and record.
type logDir string

const (
	ed25519Key = "ed25519.key"
	mldsa44Key = "mldsa44.key"
	policyFile = "witness-policy.txt"
)

func (e *Engine) dir(name string) logDir { return logDir(filepath.Join(e.cfg.Dir, "logs", name)) }

func (d logDir) path(name string) string { return filepath.Join(string(d), name) }

func (d logDir) record() publisher.Record { return publisher.Record(d.path("signed.checkpoint")) }

// makeKeys makes the keys of a new log. Keys that are there, from an attempt to
// create the log that failed or put there by hand, are kept if they are for
// that origin.
func (d logDir) makeKeys(origin string, mldsa44 bool) error {
	if err := os.MkdirAll(string(d), 0o700); err != nil {
		return err
	}
	err := keyfile.Create(d.path(ed25519Key), func() (string, string, error) {
		return checkpoint.GenerateKey(rand.Reader, origin)
	})
	if err == nil && mldsa44 {
		err = keyfile.Create(d.path(mldsa44Key), func() (string, string, error) {
			return cosignature.GenerateKey(rand.Reader, cosignature.MLDSA44, origin)
		})
	}
	if err != nil {
		return err
	}
	_, _, _, err = d.readKeys(origin)
	return err
}

// readKeys reads the keys that sign for an origin, Ed25519 first.
func (d logDir) readKeys(origin string) (signers []note.Signer, verifiers []note.Verifier, vkeys []string, err error) {
	for _, name := range []string{ed25519Key, mldsa44Key} {
		skey, err := keyfile.Read(d.path(name))
		if errors.Is(err, fs.ErrNotExist) && name == mldsa44Key {
			continue
		}
		if err != nil {
			return nil, nil, nil, err
		}
		signer, verifier, vkey, err := readKey(skey, origin)
		if err != nil {
			return nil, nil, nil, fmt.Errorf("%s: %w", d.path(name), err)
		}
		signers, verifiers, vkeys = append(signers, signer), append(verifiers, verifier), append(vkeys, vkey)
	}
	return signers, verifiers, vkeys, nil
}

func readKey(skey, origin string) (note.Signer, note.Verifier, string, error) {
	signer, err := checkpoint.NewSigner(skey)
	if err != nil {
		return nil, nil, "", err
	}
	if signer.Name() != origin {
		return nil, nil, "", fmt.Errorf("the key is for the origin %q, the log's is %q", signer.Name(), origin)
	}
	vkey, err := checkpoint.VKey(skey)
	if err != nil {
		return nil, nil, "", err
	}
	verifier, err := checkpoint.NewVerifier(vkey)
	return signer, verifier, vkey, err
}
