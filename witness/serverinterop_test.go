package witness_test

import (
	"testing"

	"filippo.io/torchwood"
	fnote "github.com/transparency-dev/formats/note"
	"golang.org/x/mod/sumdb/note"
)

func TestOthersVerifyOurCosignatures(t *testing.T) {
	t.Parallel()
	db, keys := openWitnessDB(t), newWitnessKeys(t)
	server, r := keys.start(t, db), newStatusRig(t, logOrigin)
	addKeys(t, db, r.log)
	msg := r.log.checkpoint(t, r.honest.head(5), "")
	cosigned := append(msg, mustCosign(t, server.URL, "old 0\n\n"+string(msg))...)
	for _, vkey := range keys.server(t, db).VKeys() {
		theirs, err := torchwood.NewCosignatureVerifier(vkey)
		if err != nil {
			t.Fatal(err)
		}
		formats, err := fnote.NewVerifier(vkey)
		if err != nil {
			t.Fatal(err)
		}
		for name, v := range map[string]note.Verifier{"torchwood": theirs, "formats": formats} {
			n, err := note.Open(cosigned, note.VerifierList(v))
			if err != nil || len(n.Sigs) != 1 {
				t.Errorf("%s refuses the cosignature of %.60s: %v", name, vkey, err)
				continue
			}
			at, err := torchwood.CosignatureTimestamp(n.Sigs[0])
			if err != nil || at != keys.clock().Unix() {
				t.Errorf("%s reads the time %d, %v", name, at, err)
			}
		}
	}
}
