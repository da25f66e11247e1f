package engine

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/mod/sumdb/note"

	"github.com/stele-log/stele/internal/durable"
	"github.com/stele-log/stele/internal/publisher"
	"github.com/stele-log/stele/pkg/checkpoint"
	"github.com/stele-log/stele/pkg/cosignature"
)

// A logDir is the folder with a log's keys and record. It is the part of a log that
// lives outside the database, since whoever controls the database must not be able
// to sign, nor to forget what was signed.
type logDir string

const (
	ed25519Key = "ed25519.key"
	mldsa44Key = "mldsa44.key"
	policyFile = "witness-policy.txt"
)

func (e *Engine) dir(name string) logDir { return dirOf(e.cfg.Dir, name) }

func (d logDir) path(name string) string { return filepath.Join(string(d), name) }

func (d logDir) record() publisher.Record { return publisher.Record(d.path("signed.checkpoint")) }

// makeKeys makes the keys of a new log. Keys that are there, from an attempt to
// create the log that failed or put there by hand, are kept if they are for
// that origin.
func (d logDir) makeKeys(origin string, mldsa44 bool) error {
	if err := durable.MkdirAll(durable.System, string(d), 0o700); err != nil {
		return err
	}
	skey, _, err := checkpoint.GenerateKey(rand.Reader, origin)
	if err == nil {
		err = d.addKey(ed25519Key, skey)
	}
	if err == nil && mldsa44 {
		if skey, _, err = cosignature.GenerateKey(rand.Reader, cosignature.MLDSA44, origin); err == nil {
			err = d.addKey(mldsa44Key, skey)
		}
	}
	if err != nil {
		return err
	}
	_, _, _, err = d.readKeys(origin)
	return err
}

// addKey writes a key that only its owner can read, unless there is one.
func (d logDir) addKey(name, skey string) error {
	err := durable.Create(durable.System, d.path(name), []byte(skey+"\n"), 0o600)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	return err
}

// readKeys reads the keys that sign for an origin, Ed25519 first.
func (d logDir) readKeys(origin string) (signers []note.Signer, verifiers []note.Verifier, vkeys []string, err error) {
	for _, name := range []string{ed25519Key, mldsa44Key} {
		text, err := os.ReadFile(d.path(name))
		if errors.Is(err, fs.ErrNotExist) && name == mldsa44Key {
			continue
		}
		if err != nil {
			return nil, nil, nil, err
		}
		signer, verifier, vkey, err := readKey(strings.TrimSpace(string(text)), origin)
		if err != nil {
			return nil, nil, nil, fmt.Errorf("%s: %w", d.path(name), err)
		}
		signers, verifiers, vkeys = append(signers, signer), append(verifiers, verifier), append(vkeys, vkey)
	}
	return signers, verifiers, vkeys, nil
}

// readKey parses a signing key, which must be for the origin.
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
