// Package witnesskeys keeps the signing keys of a witness in files that only their
// owner can read, and its database to them.
//
// What always holds:
//   - a key that is there is never replaced;
//   - a witness signs only with the database that it has always used: with another
//     it would contradict its earlier signatures. The database names the witness's
//     Ed25519 key as its owner.
//
// One process at a time may use a folder.
package witnesskeys

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

// A Folder is the folder with the keys of a witness.
type Folder string

// keyFiles are the files with the keys, which only their owner can read.
var keyFiles = []struct {
	name string
	typ  cosignature.Type
}{
	{"ed25519.key", cosignature.Ed25519},
	{"mldsa44.key", cosignature.MLDSA44},
}

// make makes the keys that are not there.
func (d Folder) make(name string) error {
	for _, f := range keyFiles {
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

// Read reads the keys.
func (d Folder) Read() (ed25519, mldsa44 *cosignature.Signer, err error) {
	var keys []*cosignature.Signer
	for _, f := range keyFiles {
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

func (d Folder) readKey(file string) (*cosignature.Signer, error) {
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

// Claim returns the keys of the witness with that name, and makes them for a new
// one. The database must belong to them, or to nobody. One that belongs to nobody
// becomes theirs if the keys are new, or with newDatabase.
func (d Folder) Claim(ctx context.Context, db *witnessdb.DB, name string, newDatabase bool) (ed25519, mldsa44 *cosignature.Signer, err error) {
	owner, err := db.Owner(ctx)
	if err != nil {
		return nil, nil, err
	}
	key, err := d.readKey(keyFiles[0].name)
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
	if ed25519, mldsa44, err = d.Read(); err != nil {
		return nil, nil, err
	}
	return ed25519, mldsa44, db.SetOwner(ctx, ed25519.VKey())
}
