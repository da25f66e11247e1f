package witness_test

import (
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/stele-log/stele/pkg/proof"
	"github.com/stele-log/stele/pkg/tree"
	"github.com/stele-log/stele/witness"
)

func FuzzParseAddCheckpoint(f *testing.F) {
	f.Add([]byte("old 0\n\nlog.example\n"))
	f.Add([]byte("old 12\n" + tree.EmptyRoot.String() + "\n\nnote\n\n— a AAAA\n"))
	f.Fuzz(func(t *testing.T, body []byte) {
		r, err := witness.ParseAddCheckpoint(body)
		if err != nil {
			return
		}
		if len(r.Proof) > proof.MaxHashes {
			t.Errorf("a proof of %d hashes", len(r.Proof))
		}
		if got := r.String(); got != string(body) {
			t.Errorf("%q parses, and prints as %q", body, got)
		}
	})
}

// FuzzAddCheckpoint sends anything to a witness that knows a log, whose private
// key the fuzzer does not have: what it gets signed is what it was given.
func FuzzAddCheckpoint(f *testing.F) {
	db, keys, r := openWitnessDB(f), newWitnessKeys(f), newStatusRig(f, logOrigin)
	addKeys(f, db, r.log)
	server := keys.server(f, db)
	given := []string{
		r.log.request(f, r.honest, 0, 5), r.log.request(f, r.honest, 5, 5), r.log.request(f, r.honest, 5, 8),
	}
	f.Add([]byte("old 0\n\n" + string(signText(f, wrongEmpty(logOrigin), r.log.signers[0]))))
	var signed []string
	for _, body := range given {
		f.Add([]byte(body))
		signed = append(signed, noteTextOf(body))
	}
	statuses := []int{200, 400, 403, 404, 409, 413, 422}
	f.Fuzz(func(t *testing.T, body []byte) {
		w := httptest.NewRecorder()
		server.ServeHTTP(w, httptest.NewRequest("POST", "/add-checkpoint", strings.NewReader(string(body))))
		if !slices.Contains(statuses, w.Code) {
			t.Fatalf("status %d: %s", w.Code, w.Body)
		}
		if w.Code == 200 && !slices.Contains(signed, noteTextOf(string(body))) {
			t.Errorf("the witness has signed %q", body)
		}
	})
}

// noteTextOf returns the text of the note in a request.
func noteTextOf(body string) string {
	_, msg, _ := strings.Cut(body, "\n\n")
	return msg[:max(0, strings.LastIndex(msg, "\n\n")+1)]
}

func FuzzParseLogList(f *testing.F) {
	f.Add("logs/v0\n")
	f.Add("# list\nlogs/v0\n\nvkey a+00000000+AAAA\norigin b\nqpd 24\ncontact me\n")
	f.Fuzz(func(t *testing.T, text string) {
		logs, err := witness.ParseLogList(text)
		if err != nil {
			return
		}
		again, err := witness.ParseLogList(formatLogList(logs))
		if err != nil || !slices.Equal(again, logs) {
			t.Errorf("%q parses as %+v, and what that prints as %+v, %v", text, logs, again, err)
		}
		for _, l := range logs {
			if l.QPD < 1 || l.QPD >= 1<<31 || l.VKey == "" || l.Contact == "" {
				t.Errorf("%q has the log %+v", text, l)
			}
		}
	})
}
