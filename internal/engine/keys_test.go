package engine_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"filippo.io/torchwood"
	"github.com/transparency-dev/formats/log"
	fnote "github.com/transparency-dev/formats/note"
	"golang.org/x/mod/sumdb/note"

	"github.com/stele-log/stele/internal/engine"
	"github.com/stele-log/stele/internal/test/dbtest"
	"github.com/stele-log/stele/pkg/checkpoint"
	"github.com/stele-log/stele/pkg/tree"
)

func TestKeysAreReadWithoutAServer(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	h := start(t, dbtest.SQLite(t)(), dir)
	l, err := h.Create(t.Context(), engine.NewLog{Name: "one", Origin: origin("one"), MLDSA44: true})
	if err != nil {
		t.Fatal(err)
	}
	h.stop()
	keys, err := engine.KeysOf(dir, "one")
	if err != nil || len(keys) != 2 {
		t.Fatalf("%d keys, %v; want 2", len(keys), err)
	}
	for i, key := range keys {
		want, err := checkpoint.NewVerifier(l.VKeys[i])
		if err != nil || key.Name() != l.Origin || key.KeyHash() != want.KeyHash() {
			t.Errorf("key %d is %s+%08x, want %s", i, key.Name(), key.KeyHash(), l.VKeys[i])
		}
	}
	for name, want := range map[string]error{"two": fs.ErrNotExist, "../logs/one": engine.ErrBadName} {
		if _, err := engine.KeysOf(dir, name); !errors.Is(err, want) {
			t.Errorf("%s: error %v, want %q", name, err, want)
		}
	}
}

func TestKeysAreMadeForTheOwnerAndKept(t *testing.T) {
	t.Parallel()
	dir, open := t.TempDir(), dbtest.SQLite(t)
	h := start(t, open(), dir)
	l, err := h.Create(t.Context(), engine.NewLog{Name: "one", Origin: origin("one"), MLDSA44: true})
	if err != nil {
		t.Fatal(err)
	}
	other := h.create(t, "two")
	if len(l.VKeys) != 2 || len(other.VKeys) != 1 || l.VKeys[0] == other.VKeys[0] {
		t.Errorf("keys %q and %q", l.VKeys, other.VKeys)
	}
	keys := map[string]string{}
	for _, name := range []string{"ed25519.key", "mldsa44.key"} {
		path := keyFile(dir, "one", name)
		info, err := os.Stat(path)
		if err != nil || info.Mode() != 0o600 {
			t.Errorf("%s: mode %v, error %v; want 0600", name, info.Mode(), err)
		}
		keys[path] = read(t, path)
		vkey, err := checkpoint.VKey(strings.TrimSpace(keys[path]))
		if err != nil || !slices.Contains(l.VKeys, vkey) {
			t.Errorf("%s is the key of %q, error %v; want one of %q", name, vkey, err, l.VKeys)
		}
	}
	if info, err := os.Stat(keyFile(dir, "one", "")); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("folder: mode %v, error %v; want 0700", info.Mode(), err)
	}
	if files, err := filepath.Glob(keyFile(dir, "one", "*.tmp")); err != nil || len(files) > 0 {
		t.Errorf("files %q are left behind, error %v", files, err)
	}
	h.stop()

	again := start(t, open(), dir).get(t, "one")
	if !slices.Equal(again.VKeys, l.VKeys) {
		t.Errorf("after a restart the keys are %q, want %q", again.VKeys, l.VKeys)
	}
	for path, want := range keys {
		if read(t, path) != want {
			t.Errorf("%s has changed", path)
		}
	}
}

func TestKeyPutThereIsUsed(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	skey, vkey := newKey(t, origin("one"))
	path := keyFile(dir, "one", "ed25519.key")
	write(t, path, skey+" \n\n")
	l := start(t, dbtest.SQLite(t)(), dir).create(t, "one")
	if !slices.Equal(l.VKeys, []string{vkey}) || read(t, path) != skey+" \n\n" {
		t.Errorf("the log has keys %q, want %q, and the file kept", l.VKeys, vkey)
	}
	appendTo(t, l, 0, 3)
	checkLog(t, l, 3)
}

func TestKeyThatCannotSignIsRefused(t *testing.T) {
	t.Parallel()
	foreign, _ := newKey(t, origin("another"))
	for name, test := range map[string]struct{ content, want string }{
		"for another origin": {foreign, `the key is for the origin "logs.example.com/another", the log's is "logs.example.com/one"`},
		"cut off":            {foreign[:len(foreign)-9], "key"},
		"empty":              {"", "key"},
	} {
		dir := t.TempDir()
		h := start(t, dbtest.SQLite(t)(), dir)
		path := keyFile(dir, "one", "ed25519.key")
		write(t, path, test.content)
		_, err := h.Create(t.Context(), engine.NewLog{Name: "one", Origin: origin("one")})
		if err == nil || !strings.Contains(err.Error(), test.want) || !strings.Contains(err.Error(), path) {
			t.Errorf("a key %s: error %v, want %q and the file's path", name, err, test.want)
		}
		if secret := foreign[len(foreign)-20:]; err != nil && strings.Contains(err.Error(), secret[:11]) {
			t.Errorf("a key %s: the error shows the key: %v", name, err)
		}
		if read(t, path) != test.content || len(h.Logs()) != 0 {
			t.Errorf("a key %s: it was replaced, or there is a log: %v", name, h.Logs())
		}
		// Once it is out of the way the log can be created.
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		h.create(t, "one")
	}
}

func TestLogWithoutItsKeyIsBrokenAndOthersRun(t *testing.T) {
	each(t, func(t *testing.T, open dbOpener) {
		dir := t.TempDir()
		h := start(t, open(), dir)
		for _, name := range []string{"a", "b", "c"} {
			appendTo(t, h.create(t, name), 0, 5)
		}
		h.stop()
		path := keyFile(dir, "b", "ed25519.key")
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}

		h = start(t, open(), dir)
		broken := h.get(t, "b")
		if !errors.Is(broken.Broken, fs.ErrNotExist) || !strings.Contains(broken.Broken.Error(), path) || broken.Origin != origin("b") {
			t.Errorf("log %+v is broken by %v", broken.Info, broken.Broken)
		}
		for _, name := range []string{"a", "c"} {
			l := h.get(t, name)
			if l.Broken != nil {
				t.Fatal(l.Broken)
			}
			appendTo(t, l, 5, 5)
			checkLog(t, l, 10)
		}
		if _, err := h.Create(t.Context(), engine.NewLog{Name: "b", Origin: origin("b")}); err == nil {
			t.Error("a log that is broken was created again")
		}
		h.stop()
		if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("a key was made for a log that exists: %v", err)
		}
	})
}

func TestCheckpointsOpenWithTorchwoodAndFormats(t *testing.T) {
	t.Parallel()
	h := start(t, dbtest.SQLite(t)(), t.TempDir())
	l, err := h.Create(t.Context(), engine.NewLog{Name: "one", Origin: origin("one"), MLDSA44: true})
	if err != nil {
		t.Fatal(err)
	}
	head := appendTo(t, l, 0, 300)
	published, err := l.Publisher.Latest()
	if err != nil {
		t.Fatal(err)
	}
	for _, vkey := range l.VKeys {
		c, n, err := checkpoint.Open(published.Note, l.Origin, verifier(t, vkey))
		if err != nil || c.Head != head || len(n.Sigs) != 1 || len(n.UnverifiedSigs) != 1 {
			t.Errorf("with %q: %v, error %v", vkey, c.Head, err)
		}
		v, err := fnote.NewVerifier(vkey)
		if err != nil {
			t.Fatal(err)
		}
		theirs, rest, _, err := log.ParseCheckpoint(published.Note, l.Origin, v)
		if err != nil || theirs.Size != head.Size || tree.Hash(theirs.Hash) != head.Root || len(rest) > 0 {
			t.Errorf("with %q formats reads %+v, error %v", vkey, theirs, err)
		}
	}
	ed, err := note.NewVerifier(l.VKeys[0])
	if err != nil {
		t.Fatal(err)
	}
	mldsa, err := torchwood.NewCosignatureVerifier(l.VKeys[1])
	if err != nil {
		t.Fatal(err)
	}
	c, _, err := torchwood.VerifyCheckpoint(published.Note, torchwood.ThresholdPolicy(3, torchwood.OriginPolicy(l.Origin),
		torchwood.SingleVerifierPolicy(ed), torchwood.SingleVerifierPolicy(mldsa)))
	if err != nil || uint64(c.N) != head.Size || tree.Hash(c.Hash) != head.Root {
		t.Errorf("torchwood reads %+v, error %v", c, err)
	}
}
