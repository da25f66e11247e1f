package engine

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/mod/sumdb/note"

	"github.com/stele-log/stele/internal/durable"
	"github.com/stele-log/stele/internal/headmac"
	"github.com/stele-log/stele/internal/publisher"
	"github.com/stele-log/stele/pkg/checkpoint"
	"github.com/stele-log/stele/pkg/cosignature"
	"github.com/stele-log/stele/storage"
)

// A logDir is the folder with a log's keys and record. It is the part of a log that
// lives outside the database, since whoever controls the database must not be able
// to sign, nor to forget what was signed.
type logDir string

const (
	ed25519Key = "ed25519.key"
	mldsa44Key = "mldsa44.key"
	headKey    = "head.key"
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
		err = d.addKey(ed25519Key, skey+"\n")
	}
	if err == nil {
		err = d.addKey(headKey, headmac.Generate(0).Text())
	}
	if err == nil && mldsa44 {
		if skey, _, err = cosignature.GenerateKey(rand.Reader, cosignature.MLDSA44, origin); err == nil {
			err = d.addKey(mldsa44Key, skey+"\n")
		}
	}
	if err != nil {
		return err
	}
	_, _, _, err = d.readKeys(origin)
	return err
}

// addKey writes a key that only its owner can read, unless there is one.
func (d logDir) addKey(name, text string) error {
	err := durable.Create(durable.System, d.path(name), []byte(text), 0o600)
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

// openHeads returns a stored log whose heads carry MACs. A log whose heads have none, from
// before there were MACs, gets a key now, which lets those heads be.
func (d logDir) openHeads(ctx context.Context, stored storage.Log) (*headmac.Log, error) {
	key, err := d.readHeadKey()
	if !errors.Is(err, fs.ErrNotExist) {
		return headmac.Open(stored, key), err
	}
	head, err := stored.Head(ctx)
	if err != nil {
		return nil, err
	}
	if head.MAC != nil {
		return nil, fmt.Errorf("%s is missing, and the log's heads carry MACs under that key: put it back from the backup of this folder, "+
			"or from another server of the log; if it is lost, stele restore makes the log and another key in an empty database", d.path(headKey))
	}
	if err := d.addKey(headKey, headmac.Generate(head.Size).Text()); err != nil {
		return nil, err
	}
	key, err = d.readHeadKey()
	return headmac.Open(stored, key), err
}

// readHeadKey reads the key for the MACs of the log's heads.
func (d logDir) readHeadKey() (headmac.Key, error) {
	text, err := os.ReadFile(d.path(headKey))
	if err != nil {
		return headmac.Key{}, err
	}
	key, err := headmac.Parse(string(text))
	if err != nil {
		return key, fmt.Errorf("%s: %w", d.path(headKey), err)
	}
	return key, nil
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
