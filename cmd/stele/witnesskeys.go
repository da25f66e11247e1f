package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/stele-log/stele/internal/durable"
	"github.com/stele-log/stele/pkg/cosignature"
	"github.com/stele-log/stele/witness/witnessdb"
)

// A witnessKeyDir is the folder with a witness's keys.
type witnessKeyDir string

// witnessKeyFiles are the files with the keys, which only their owner can read.
var witnessKeyFiles = []struct {
	name string
	typ  cosignature.Type
}{
	{"ed25519.key", cosignature.Ed25519},
	{"mldsa44.key", cosignature.MLDSA44},
}

// make makes the keys that are not there.
func (d witnessKeyDir) make(name string) error {
	for _, f := range witnessKeyFiles {
		skey, _, err := cosignature.GenerateKey(rand.Reader, f.typ, name)
		if err == nil {
			err = durable.Create(durable.System, filepath.Join(string(d), f.name), []byte(skey+"\n"), 0o600)
		}
		if err != nil && !errors.Is(err, fs.ErrExist) {
			return fmt.Errorf("make the witness's keys: %w", err)
		}
	}
	return nil
}

// read reads the keys.
func (d witnessKeyDir) read() (ed25519, mldsa44 *cosignature.Signer, err error) {
	var keys []*cosignature.Signer
	for _, f := range witnessKeyFiles {
		key, err := d.readKey(f.name)
		if errors.Is(err, fs.ErrNotExist) {
			return nil, nil, fmt.Errorf("there is no witness in %s: stele witness serve makes its keys", d)
		}
		if err != nil {
			return nil, nil, err
		}
		keys = append(keys, key)
	}
	return keys[0], keys[1], nil
}

func (d witnessKeyDir) readKey(file string) (*cosignature.Signer, error) {
	path := filepath.Join(string(d), file)
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	key, err := cosignature.NewSigner(strings.TrimSpace(string(text)), time.Now)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return key, nil
}

// claim returns the witness's keys, which it makes for a new witness, and sees
// to it that they and the database belong together: a witness with another
// database would sign what contradicts its earlier signatures.
func (d witnessKeyDir) claim(ctx context.Context, db *witnessdb.DB, name string, newDatabase bool) (ed25519, mldsa44 *cosignature.Signer, err error) {
	owner, err := db.Owner(ctx)
	if err != nil {
		return nil, nil, err
	}
	key, err := d.readKey(witnessKeyFiles[0].name)
	isNew := errors.Is(err, fs.ErrNotExist)
	switch {
	case err != nil && !isNew:
		return nil, nil, err
	case isNew && owner != "":
		return nil, nil, fmt.Errorf("the database belongs to the witness with the key %s, and %s has no keys: "+
			"put its keys there, or give the new witness a database of its own", owner, d)
	case !isNew && key.Name() != name:
		return nil, nil, fmt.Errorf("the keys in %s are those of the witness %q, not of %q: "+
			"choose another folder with --data", d, key.Name(), name)
	case !isNew && owner == "" && !newDatabase:
		return nil, nil, fmt.Errorf("the witness whose keys are in %s has never used this database: "+
			"it would have forgotten all that it has signed. Give it the database it had; "+
			"or, only if its keys have never signed anything, start it once with --new-database", d)
	}
	if err := d.make(name); err != nil {
		return nil, nil, err
	}
	if ed25519, mldsa44, err = d.read(); err != nil {
		return nil, nil, err
	}
	return ed25519, mldsa44, db.SetOwner(ctx, ed25519.VKey())
}
