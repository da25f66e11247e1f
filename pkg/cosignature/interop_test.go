package cosignature_test

import (
	"bytes"
	"crypto"
	"crypto/ed25519"
	"testing"

	"filippo.io/mldsa"
	"filippo.io/torchwood"
	fnote "github.com/transparency-dev/formats/note"
	"golang.org/x/mod/sumdb/note"

	"github.com/stele-log/stele/pkg/cosignature"
)

// others returns the signers and verifiers that two other implementations make
// of the key of a type.
func others(t *testing.T, typ cosignature.Type, b byte) (signers []note.Signer, verifiers []note.Verifier) {
	t.Helper()
	must := func(err error) {
		if err != nil {
			t.Fatal(err)
		}
	}
	skey, vkey, err := cosignature.GenerateKey(bytes.NewReader(secret(b)), typ, name)
	must(err)
	var private crypto.Signer = ed25519.NewKeyFromSeed(secret(b))
	if typ == cosignature.MLDSA44 {
		private, err = mldsa.NewPrivateKey(mldsa.MLDSA44(), secret(b))
		must(err)
	}
	ts, err := torchwood.NewCosignatureSigner(name, private)
	must(err)
	tv, err := torchwood.NewCosignatureVerifier(vkey)
	must(err)
	if tv.String() != vkey || ts.Verifier().String() != vkey {
		t.Errorf("%s: torchwood spells the vkey %.60q, not %.60q", typ, tv, vkey)
	}
	fv, err := fnote.NewVerifier(vkey)
	must(err)
	var fs note.Signer
	if typ == cosignature.MLDSA44 {
		fs, err = fnote.NewMLDSASigner(skey)
	} else {
		fs, err = fnote.NewSignerForCosignatureV1(skey)
	}
	must(err)
	return []note.Signer{ts, fs}, []note.Verifier{tv, fv}
}

func TestCosignaturesOfEachVerifyWithTheOthers(t *testing.T) {
	t.Parallel()
	for _, typ := range types {
		t.Run(typ.String(), func(t *testing.T) {
			t.Parallel()
			ours, verifier := pair(t, typ, name, 1)
			signers, verifiers := others(t, typ, 1)
			for i, v := range verifiers {
				msg, err := note.Sign(&note.Note{Text: text}, ours)
				if err != nil {
					t.Fatal(err)
				}
				if _, err := note.Open(msg, note.VerifierList(v)); err != nil {
					t.Errorf("verifier %d refuses our cosignature: %v", i, err)
				}
			}
			for i, s := range signers {
				msg, err := note.Sign(&note.Note{Text: text}, s)
				if err != nil {
					t.Fatal(err)
				}
				n, err := note.Open(msg, note.VerifierList(verifier))
				if err != nil {
					t.Errorf("we refuse the cosignature of signer %d: %v", i, err)
					continue
				}
				got, err := cosignature.Timestamp(n.Sigs[0])
				if err != nil {
					t.Error(err)
				}
				theirs, err := torchwood.CosignatureTimestamp(n.Sigs[0])
				if err != nil || got.Unix() != theirs {
					t.Errorf("time %d, torchwood reads %d (%v)", got.Unix(), theirs, err)
				}
			}
		})
	}
}
