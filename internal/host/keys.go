package host

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/mod/sumdb/note"

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

func (h *Host) dir(name string) logDir { return logDir(filepath.Join(h.cfg.Dir, "logs", name)) }

func (d logDir) path(name string) string { return filepath.Join(string(d), name) }

func (d logDir) record() publisher.Record { return publisher.Record(d.path("signed.checkpoint")) }

// makeKeys makes the keys of a new log. Keys that are there, from an attempt to
// create the log that failed or put there by hand, are kept if they are for
// that origin.
func (d logDir) makeKeys(origin string, mldsa44 bool) error {
	if err := os.MkdirAll(string(d), 0o700); err != nil {
		return err
	}
	err := d.makeKey(ed25519Key, func() (string, error) {
		skey, _, err := checkpoint.GenerateKey(rand.Reader, origin)
		return skey, err
	})
	if err == nil && mldsa44 {
		err = d.makeKey(mldsa44Key, func() (string, error) {
			skey, _, err := cosignature.GenerateKey(rand.Reader, cosignature.MLDSA44, origin)
			return skey, err
		})
	}
	if err != nil {
		return err
	}
	_, _, _, err = d.readKeys(origin)
	return err
}

// makeKey writes a key file, unless there is one. A crash leaves none or a
// whole one.
func (d logDir) makeKey(name string, generate func() (string, error)) error {
	skey, err := generate()
	if err != nil {
		return err
	}
	tmp, err := os.CreateTemp(string(d), name+".*.tmp") // 0600
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name())
	_, err = tmp.WriteString(skey + "\n")
	if err := errors.Join(err, tmp.Sync(), tmp.Close()); err != nil {
		return err
	}
	if err := os.Link(tmp.Name(), d.path(name)); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return d.sync()
}

// sync makes the names in the folder durable.
func (d logDir) sync() error {
	f, err := os.Open(string(d))
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
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
