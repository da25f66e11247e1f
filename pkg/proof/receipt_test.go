package proof_test

import (
	"bytes"
	"encoding/base64"
	"errors"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"filippo.io/torchwood"
	fproof "github.com/transparency-dev/formats/proof"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/stele-log/stele/pkg/checkpoint"
	"github.com/stele-log/stele/pkg/cosignature"
	"github.com/stele-log/stele/pkg/policy"
	"github.com/stele-log/stele/pkg/proof"
	"github.com/stele-log/stele/pkg/tree"
)

const origin = "log.example/one"

func seed(b byte) *bytes.Reader { return bytes.NewReader(bytes.Repeat([]byte{b}, 32)) }

func clock() time.Time { return time.Unix(1_700_000_000, 0).UTC() }

// keys are those of a log and of one witness.
type keys struct {
	log, witness         note.Signer
	logVKey, witnessVKey string
}

func newKeys(t testing.TB) (k keys) {
	t.Helper()
	skey, vkey, err := checkpoint.GenerateKey(seed(1), origin)
	if err != nil {
		t.Fatal(err)
	}
	k.logVKey = vkey
	if k.log, err = checkpoint.NewSigner(skey); err != nil {
		t.Fatal(err)
	}
	if skey, k.witnessVKey, err = cosignature.GenerateKey(seed(2), cosignature.Ed25519, "w.example"); err != nil {
		t.Fatal(err)
	}
	if k.witness, err = cosignature.NewSigner(skey, clock); err != nil {
		t.Fatal(err)
	}
	return k
}

func (k keys) policy(t testing.TB) *policy.Policy {
	t.Helper()
	p, err := policy.Parse([]byte("log " + k.logVKey + "\nwitness w " + k.witnessVKey + "\nquorum w\n"))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func (k keys) receipt(t testing.TB, l log, index, size uint64, extra []byte) proof.Receipt {
	t.Helper()
	hashes, err := proof.Inclusion(t.Context(), l.nodes, index, size)
	if err != nil {
		t.Fatal(err)
	}
	msg, err := checkpoint.Sign(checkpoint.Checkpoint{Origin: origin, Head: l.head(t, size)}, k.log, k.witness)
	if err != nil {
		t.Fatal(err)
	}
	return proof.Receipt{Extra: extra, Index: index, Hashes: hashes, Checkpoint: msg}
}

func TestReceiptVerifies(t *testing.T) {
	t.Parallel()
	k, l := newKeys(t), newLog(t, 10)
	for _, size := range []uint64{1, 2, 7, 10} {
		for index := range size {
			r, err := proof.ParseReceipt(k.receipt(t, l, index, size, nil).Format())
			if err != nil {
				t.Fatal(err)
			}
			result, err := r.Verify(entry(index), k.policy(t))
			if err != nil {
				t.Fatal(err)
			}
			if r.Index != index || result.Size != size || result.Origin != origin ||
				len(result.Cosignatures) != 1 || !result.Cosignatures[0].Time.Equal(clock()) {
				t.Errorf("index %d: %+v", r.Index, result)
			}
		}
	}
}

func TestReceiptDoesNotVerify(t *testing.T) {
	t.Parallel()
	k, l := newKeys(t), newLog(t, 10)
	p := k.policy(t)
	good := k.receipt(t, l, 3, 10, nil)
	if _, err := good.Verify(entry(4), p); err == nil {
		t.Error("it verifies for another entry")
	}
	otherIndex, otherHash, otherHead, noWitness := good, good, good, good
	otherIndex.Index = 4
	otherHash.Hashes = slices.Clone(good.Hashes)
	otherHash.Hashes[0][0] ^= 1
	otherHead.Checkpoint = k.receipt(t, l, 3, 9, nil).Checkpoint
	for name, r := range map[string]proof.Receipt{"index": otherIndex, "hash": otherHash, "head": otherHead} {
		if _, err := r.Verify(entry(3), p); err == nil {
			t.Errorf("it verifies with another %s", name)
		}
	}
	i := bytes.LastIndex(good.Checkpoint, []byte("— w.example"))
	noWitness.Checkpoint = good.Checkpoint[:i]
	_, err := noWitness.Verify(entry(3), p)
	var quorum *policy.QuorumError
	if !errors.As(err, &quorum) {
		t.Errorf("without the witness the error is %v", err)
	}
	// A leaf hash is not an entry.
	leaf := tree.LeafHash(entry(3))
	if _, err := good.Verify(leaf[:], p); err == nil {
		t.Error("it verifies for the leaf hash")
	}
}

func TestOthersReadOurReceipts(t *testing.T) {
	t.Parallel()
	k, l := newKeys(t), newLog(t, 300)
	theirs, err := torchwood.ParsePolicy([]byte(k.policy(t).String()))
	if err != nil {
		t.Fatal(err)
	}
	for _, extra := range [][]byte{nil, []byte("more")} {
		for _, index := range []uint64{0, 1, 255, 256, 299} {
			r := k.receipt(t, l, index, 300, extra)
			leaf := tlog.Hash(tree.LeafHash(entry(index)))
			if err := torchwood.VerifyProof(theirs, leaf, r.Format()); err != nil {
				t.Errorf("torchwood: index %d: %v", index, err)
			}
			if got, err := torchwood.ProofExtraData(r.Format()); string(got) != string(extra) || (err == nil) != (extra != nil) {
				t.Errorf("torchwood: extra data %q, %v", got, err)
			}
			var f fproof.TLogProof
			if err := f.Unmarshal(r.Format()); err != nil {
				t.Fatal(err)
			}
			if f.Index != index || len(f.Hashes) != len(r.Hashes) || !bytes.Equal(f.Checkpoint, r.Checkpoint) ||
				!bytes.Equal(f.ExtraData, extra) {
				t.Errorf("formats reads %+v", f)
			}
		}
	}
}

func TestWeReadTheReceiptsOfOthers(t *testing.T) {
	t.Parallel()
	k, l := newKeys(t), newLog(t, 300)
	want := k.receipt(t, l, 256, 300, []byte("more"))
	p, err := tlog.ProveRecord(300, 256, l)
	if err != nil {
		t.Fatal(err)
	}
	f := fproof.TLogProof{Index: 256, Checkpoint: want.Checkpoint, ExtraData: want.Extra}
	for _, h := range p {
		f.Hashes = append(f.Hashes, h)
	}
	for _, text := range [][]byte{
		torchwood.FormatProofWithExtraData(256, want.Extra, p, want.Checkpoint),
		f.Marshal(),
	} {
		r, err := proof.ParseReceipt(text)
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(r, want) {
			t.Errorf("read %+v, want %+v", r, want)
		}
		if _, err := r.Verify(entry(256), k.policy(t)); err != nil {
			t.Error(err)
		}
	}
}

func vectors(t testing.TB, folder string) map[string][]byte {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join("testdata", folder, "*"))
	if err != nil || len(paths) == 0 {
		t.Fatalf("no vectors in testdata/%s (%v)", folder, err)
	}
	files := map[string][]byte{}
	for _, path := range paths {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		files[filepath.Base(path)] = b
	}
	return files
}

// The vectors are of "entry 3".
func TestReceiptVectors(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("testdata/policy.txt")
	if err != nil {
		t.Fatal(err)
	}
	p, err := policy.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range vectors(t, "good") {
		r, err := proof.ParseReceipt(text)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if _, err := r.Verify(entry(3), p); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestParseReceiptRefuses(t *testing.T) {
	t.Parallel()
	reasons := map[string]string{
		"crlf.tlog-proof":                "its line ends are CR LF",
		"empty.tlog-proof":               "no checkpoint",
		"extra-empty.tlog-proof":         "canonical spelling",
		"extra-not-canonical.tlog-proof": "line 2: extra data",
		"extra-twice.tlog-proof":         "line 3 is",
		"hash-line-end.tlog-proof":       "line 3: hash",
		"hash-short.tlog-proof":          "line 4: hash",
		"hash-trailing-bits.tlog-proof":  "line 3: hash",
		"hashes-too-many.tlog-proof":     "64 hashes, want at most 63",
		"header-other.tlog-proof":        "line 1 is",
		"header-space.tlog-proof":        "line 1 is",
		"index-leading-zero.tlog-proof":  "line 2 is",
		"index-missing.tlog-proof":       "no index line",
		"index-negative.tlog-proof":      "line 2 is",
		"index-plus.tlog-proof":          "line 2 is",
		"index-too-large.tlog-proof":     "line 2 is",
		"no-checkpoint.tlog-proof":       "no checkpoint",
		"no-empty-line.tlog-proof":       "line 7: hash",
	}
	files := vectors(t, "bad")
	for name, want := range reasons {
		t.Run(name, func(t *testing.T) {
			text, ok := files[name]
			if !ok {
				t.Fatal("there is no such vector")
			}
			_, err := proof.ParseReceipt(text)
			wantError(t, err, want)
		})
	}
	if len(files) != len(reasons) {
		t.Errorf("%d vectors, but reasons for %d", len(files), len(reasons))
	}
}

func TestReceiptSizes(t *testing.T) {
	t.Parallel()
	k, l := newKeys(t), newLog(t, 10)
	r := k.receipt(t, l, 3, 10, make([]byte, proof.MaxExtra))
	if _, err := proof.ParseReceipt(r.Format()); err != nil {
		t.Error(err)
	}
	r.Extra = make([]byte, proof.MaxExtra+1)
	_, err := proof.ParseReceipt(r.Format())
	wantError(t, err, "extra data")
	_, err = proof.ParseReceipt(make([]byte, 4<<20))
	wantError(t, err, "bytes, want at most")
}

// All parts of the largest receipt are as long as they may be.
func TestTheLargestReceiptParses(t *testing.T) {
	t.Parallel()
	largest := proof.Receipt{
		Extra:      make([]byte, proof.MaxExtra),
		Index:      math.MaxInt64,
		Hashes:     make([]tree.Hash, proof.MaxHashes),
		Checkpoint: bytes.Repeat([]byte("c"), checkpoint.MaxSize),
	}
	r, err := proof.ParseReceipt(largest.Format())
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(r, largest) {
		t.Error("it is read as another")
	}
	largest.Checkpoint = append(largest.Checkpoint, 'c')
	_, err = proof.ParseReceipt(largest.Format())
	wantError(t, err, "bytes, want at most")
}

func FuzzParseReceipt(f *testing.F) {
	for _, folder := range []string{"good", "bad"} {
		for _, text := range vectors(f, folder) {
			f.Add(text)
		}
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		r, err := proof.ParseReceipt(text)
		if err != nil {
			return
		}
		if !bytes.Equal(r.Format(), text) {
			t.Fatalf("%q parses, and prints as %q", text, r.Format())
		}
		extra := base64.StdEncoding.EncodeToString(r.Extra)
		if len(r.Extra) > 0 && !strings.Contains(string(text), "\nextra "+extra+"\n") {
			t.Fatalf("extra data of %q is %q", text, extra)
		}
	})
}

func BenchmarkReceiptFormat(b *testing.B) {
	r := proof.Receipt{Index: 803_142, Hashes: make([]tree.Hash, 20), Checkpoint: make([]byte, 300)}
	b.ReportAllocs()
	for b.Loop() {
		r.Format()
	}
}
