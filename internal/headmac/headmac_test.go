package headmac_test

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/stele-log/stele/internal/headmac"
	"github.com/stele-log/stele/internal/test/dbtest"
	"github.com/stele-log/stele/pkg/tree"
	"github.com/stele-log/stele/storage"
	"github.com/stele-log/stele/storage/storagetest"
)

// TestSumIsWhatThePackageSays writes the message down by hand.
func TestSumIsWhatThePackageSays(t *testing.T) {
	t.Parallel()
	head := tree.Head{Size: 300, Root: tree.LeafHash([]byte("root"))}
	h := hmac.New(sha256.New, make([]byte, 32))
	fmt.Fprintf(h, "stele head mac v1\nlogs.example.com/one\n\x00\x00\x00\x00\x00\x00\x00\x05\x00\x00\x00\x00\x00\x00\x01\x2c%s", head.Root[:])
	if got, want := (headmac.Key{}).Sum("logs.example.com/one", 5, head), h.Sum(nil); !bytes.Equal(got, want) {
		t.Errorf("%x, want %x", got, want)
	}
}

func TestKeyIsReadAsItIsWritten(t *testing.T) {
	t.Parallel()
	k := headmac.Generate(7)
	if got, err := headmac.Parse(k.Text()); err != nil || got != k {
		t.Errorf("read %v, %v", got, err)
	}
	if other := headmac.Generate(7); other == k {
		t.Error("two keys are the same")
	}
	secret := strings.Fields(k.Text())[2]
	for _, shown := range []string{fmt.Sprint(k), fmt.Sprintf("%s %v", k, &k)} {
		if strings.Contains(shown, secret) {
			t.Errorf("the secret is printed: %s", shown)
		}
	}
	for name, text := range map[string]string{
		"nothing":              "",
		"another key":          "PRIVATE+KEY+a+b+c",
		"another version":      strings.Replace(k.Text(), "v1", "v2", 1),
		"no size":              "stele-head-mac/v1 x " + secret,
		"a size below 0":       "stele-head-mac/v1 -1 " + secret,
		"a secret that is cut": "stele-head-mac/v1 7 " + secret[4:],
		"no base64":            "stele-head-mac/v1 7 " + strings.Repeat("!", len(secret)),
		"one word more":        k.Text() + "x",
	} {
		if _, err := headmac.Parse(text); err == nil || strings.Contains(err.Error(), secret[4:]) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestHeadsOfOthersAreRefused has somebody commit to the database who does not have the
// key, or has another.
func TestHeadsOfOthersAreRefused(t *testing.T) {
	t.Parallel()
	key, since := headmac.Generate(0), headmac.Generate(10)
	for name, c := range map[string]struct {
		ours, theirs headmac.Key // of the first 10 entries, and of the next 5
		want         string
	}{
		"with the key":      {key, key, ""},
		"with another":      {key, since, "head.key"},
		"with its sizes on": {since, key, "head.key"}, // the first 10 have a MAC, which must be right all the same
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dbtest.Each(t, func(t *testing.T, open func() storage.Store) {
				stored, err := open().CreateLog(t.Context(), "one", "logs.example.com/one")
				if err != nil {
					t.Fatal(err)
				}
				ours := headmac.Open(stored, c.ours)
				head := storagetest.Grow(t, ours, 10)
				if got, err := ours.Head(t.Context()); err != nil || got.Head != head {
					t.Fatalf("our own head is %v, %v", got, err)
				}
				storagetest.Grow(t, committed{stored, headmac.Open(stored, c.theirs)}, 5)
				_, headErr := ours.Head(t.Context())
				_, headsErr := ours.Heads(t.Context(), 0, 10)
				for _, err := range []error{headErr, headsErr} {
					if (c.want == "") != (err == nil) || err != nil && (!errors.Is(err, storage.ErrDamaged) || !strings.Contains(err.Error(), c.want)) {
						t.Errorf("%v, want %q", err, c.want)
					}
				}
			})
		})
	}
}

// committed is a log that others commit to, and whose MACs nobody looks at.
type committed struct {
	storage.Log
	by *headmac.Log
}

func (c committed) Commit(ctx context.Context, b storage.Batch) error { return c.by.Commit(ctx, b) }

// TestMACIsOfOneHeadOnly copies the MAC of a head to others.
func TestMACIsOfOneHeadOnly(t *testing.T) {
	t.Parallel()
	k := headmac.Generate(0)
	head := tree.Head{Size: 300, Root: tree.LeafHash([]byte("root"))}
	mac := k.Sum("logs.example.com/one", 5, head)
	for name, other := range map[string][]byte{
		"another log":  k.Sum("logs.example.com/two", 5, head),
		"another base": k.Sum("logs.example.com/one", 6, head),
		"another size": k.Sum("logs.example.com/one", 5, tree.Head{Size: 301, Root: head.Root}),
		"another root": k.Sum("logs.example.com/one", 5, tree.Head{Size: 300}),
		"another key":  headmac.Generate(0).Sum("logs.example.com/one", 5, head),
	} {
		if bytes.Equal(mac, other) {
			t.Errorf("%s has the same MAC", name)
		}
	}
}
