package witness_test

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/stele-log/stele/pkg/checkpoint"
	"github.com/stele-log/stele/pkg/tree"
	"github.com/stele-log/stele/witness"
	"github.com/stele-log/stele/witness/witnessdb"
)

// A statusCase is a request to a witness that has signed the tree of size known
// before, unless it is 0.
type statusCase struct {
	name  string
	known uint64
	body  func(*statusRig) string
	want  int
	says  string // part of the body, all of it if the status is 409
}

type statusRig struct {
	testing.TB
	log, stranger signingLog
	honest, fork  branch // they part at index 3
}

func newStatusRig(t testing.TB, origin string) *statusRig {
	return &statusRig{
		t, newSigningLog(t, origin), newSigningLog(t, origin),
		newBranch("honest", 3, 40), newBranch("fork", 3, 40),
	}
}

// raw returns a request with everything given.
func (r *statusRig) raw(old uint64, hashes []tree.Hash, msg []byte) string {
	return witness.AddCheckpoint{Old: old, Proof: hashes, Note: msg}.String()
}

func good(old, to uint64) func(*statusRig) string {
	return func(r *statusRig) string { return r.log.request(r, r.honest, old, to) }
}

func statusCases() []statusCase {
	return slices.Concat(orderCases(), signatureCases(), []statusCase{
		{"first checkpoint", 0, good(0, 5), 200, "— " + witnessName + " "},
		{"first checkpoint of an empty tree", 0, good(0, 0), 200, "— " + witnessName + " "},
		{"growth", 5, good(5, 8), 200, "— " + witnessName + " "},
		{"same size and root again", 5, good(5, 5), 200, "— " + witnessName + " "},
		{"16 more signature lines of the size of ML-DSA-44", 5, func(r *statusRig) string {
			return r.log.request(r, r.honest, 5, 8) + strangerLines(16, 8+2420)
		}, 200, "— " + witnessName + " "},
		{"extension lines", 5, func(r *statusRig) string {
			return r.raw(5, r.honest.proof(r, 5, 8), r.log.checkpoint(r, r.honest.head(8), "an extension\n"))
		}, 200, "— " + witnessName + " "},

		{"unknown origin", 0, func(r *statusRig) string {
			return newSigningLog(r, "log.example/other").request(r, r.honest, 0, 5)
		}, 404, `"log.example/other"`},
		{"unknown origin of 256 bytes", 0, unknownOrigin(strings.Repeat("o", 256)), 404, "does not follow"},
		{"unknown origin of 100 KB", 0, unknownOrigin(strings.Repeat("oö€", 100_000/6)), 404, "does not follow"},

		{"old size above that of the checkpoint", 5, good(6, 5), 400, "old size 6 is larger"},

		{"nothing known, old size above 0", 0, good(3, 5), 409, "0\n"},
		{"stale: old size below the known one", 5, good(4, 8), 409, "5\n"},
		{"probe with old size 0", 5, good(0, 8), 409, "5\n"},
		{"replayed: an older checkpoint", 5, good(3, 4), 409, "5\n"},
		{"replayed: an older checkpoint as a refresh", 5, good(4, 4), 409, "5\n"},
		{"old size above the known one", 5, good(6, 8), 409, "5\n"},

		{"fork at the same size", 5, func(r *statusRig) string { return r.log.request(r, r.fork, 5, 5) }, 422, "another checkpoint of size 5"},
		{"fork at a larger size", 5, func(r *statusRig) string { return r.log.request(r, r.fork, 5, 8) }, 422, "leads to the root"},
		{"no proof", 5, func(r *statusRig) string {
			return r.raw(5, nil, r.log.checkpoint(r, r.honest.head(8), ""))
		}, 422, "consistency proof from size 5 to 8"},
		{"a hash too many", 5, func(r *statusRig) string {
			return r.raw(5, append(r.honest.proof(r, 5, 8), tree.EmptyRoot), r.log.checkpoint(r, r.honest.head(8), ""))
		}, 422, "consistency proof from size 5 to 8"},
		{"a proof with a refresh", 5, func(r *statusRig) string {
			return r.raw(5, r.honest.proof(r, 5, 8), r.log.checkpoint(r, r.honest.head(5), ""))
		}, 422, "consistency proof from size 5 to 5"},
		{"a proof with old size 0", 0, func(r *statusRig) string {
			return r.raw(0, r.honest.proof(r, 5, 8), r.log.checkpoint(r, r.honest.head(8), ""))
		}, 422, "must be empty"},
		{"size 0 with a wrong root", 0, func(r *statusRig) string {
			return r.raw(0, nil, signText(r, wrongEmpty(r.log.origin), r.log.signers[0]))
		}, 422, "not that of the empty tree"},

		{"oversized", 0, func(r *statusRig) string {
			return r.log.request(r, r.honest, 0, 5) + strings.Repeat("x", witness.MaxRequest)
		}, 413, "more than 262144 bytes"},
	})
}

// signatureCases are requests that the log has not signed, or not in all its lines.
func signatureCases() []statusCase {
	return []statusCase{
		{"signed by a stranger", 0, func(r *statusRig) string { return r.stranger.request(r, r.honest, 0, 5) }, 403, "no valid signature"},
		{"signature of the log over another root", 0, func(r *statusRig) string {
			body := r.log.request(r, r.honest, 0, 5)
			return strings.Replace(body, r.honest.head(5).Root.String(), r.honest.head(6).Root.String(), 1)
		}, 403, "no valid signature"},
		{"a line of the log's key that fails, behind one that does not", 5, func(r *statusRig) string {
			return r.log.request(r, r.honest, 5, 8) + r.log.spoiledLine(r, 8)
		}, 403, "is not valid"},
		{"a line of the log's key that fails, before one that does not", 5, func(r *statusRig) string {
			return strings.Replace(r.log.request(r, r.honest, 5, 8), "\n\n— ", "\n\n"+r.log.spoiledLine(r, 8)+"— ", 1)
		}, 403, "is not valid"},
		{"extension lines that only ML-DSA-44 signs", 0, func(r *statusRig) string {
			c := checkpoint.Checkpoint{Origin: r.log.origin, Head: r.honest.head(5), Extensions: "x\n"}
			return r.raw(0, nil, signText(r, c.String(), r.log.signers[1]))
		}, 403, "do not cover them"},
	}
}

// orderCases are requests that are wrong in more than one way.
func orderCases() []statusCase {
	return []statusCase{
		{"malformed comes before unknown", 0, func(r *statusRig) string {
			return newSigningLog(r, "log.example/other").request(r, r.honest, 0, 5) + "\n"
		}, 400, "extension line is empty"},
		{"unknown comes before unsigned", 0, func(r *statusRig) string {
			c := checkpoint.Checkpoint{Origin: "log.example/other", Head: r.honest.head(5)}
			return r.raw(0, nil, signText(r, c.String(), r.stranger.signers[0]))
		}, 404, "does not follow"},
		{"unsigned comes before old size", 5, func(r *statusRig) string { return r.stranger.request(r, r.honest, 9, 5) }, 403, ""},
		{"old size comes before stale", 5, func(r *statusRig) string { return r.log.request(r, r.honest, 9, 4) }, 400, "old size 9"},
		{"stale comes before the proof", 5, func(r *statusRig) string {
			return r.raw(4, r.fork.proof(r, 4, 8), r.log.checkpoint(r, r.fork.head(8), ""))
		}, 409, "5\n"},
		{"stale comes before a wrong empty tree", 5, func(r *statusRig) string {
			return r.raw(0, nil, signText(r, wrongEmpty(r.log.origin), r.log.signers[0]))
		}, 409, "5\n"},
		{"unsigned comes before a wrong empty tree", 0, func(r *statusRig) string {
			return r.raw(0, nil, signText(r, wrongEmpty(r.log.origin), r.stranger.signers[0]))
		}, 403, "no valid signature"},
	}
}

// unknownOrigin returns a request for a log that nobody can have.
func unknownOrigin(origin string) func(*statusRig) string {
	return func(r *statusRig) string {
		text := strings.Replace(string(r.log.checkpoint(r, r.honest.head(5), "")), r.log.origin, origin, 1)
		return r.raw(0, nil, []byte(text))
	}
}

// spoiledLine returns the signature line of one of the log's keys for the tree of a
// size, with another signature.
func (l signingLog) spoiledLine(r *statusRig, size uint64) string {
	_, lines, _ := strings.Cut(string(l.checkpoint(r, r.honest.head(size), "")), "\n\n")
	first, _, _ := strings.Cut(lines, "\n")
	return spoiled(first + "\n")
}

func wrongEmpty(origin string) string { return origin + "\n0\n" + tree.LeafHash(nil).String() + "\n" }

// strangerLines returns n signature lines of keys that nobody knows, with
// signatures of size bytes.
func strangerLines(n, size int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "— stranger%d.example %s\n", i, base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{byte(i)}, 4+size)))
	}
	return b.String()
}

func TestStatusOfEachRequest(t *testing.T) {
	onEachDatabase(t, func(t *testing.T, open func() *witnessdb.DB) {
		db, keys := open(), newWitnessKeys(t)
		server := keys.start(t, db)
		for i, c := range append(statusCases(), malformedCases()...) {
			t.Run(c.name, func(t *testing.T) {
				r := newStatusRig(t, fmt.Sprintf("log.example/%d", i))
				if _, err := db.AddKeys(t.Context(), r.log.origin, r.log.vkeys...); err != nil {
					t.Fatal(err)
				}
				if c.known > 0 {
					mustCosign(t, server.URL, r.log.request(t, r.honest, 0, c.known))
				}
				before := newestNote(t, server.URL, r.log.origin)
				got := postCheckpoint(t, server.URL, c.body(r))
				c.check(t, got)
				after := newestNote(t, server.URL, r.log.origin)
				if got.status != 200 && after != before {
					t.Errorf("it was refused, and the newest checkpoint is\n%s\ninstead of\n%s", after, before)
				}
				if got.status == 200 && !strings.HasSuffix(after, got.body) {
					t.Errorf("the newest checkpoint is\n%s\nwithout the signatures\n%s", after, got.body)
				}
			})
		}
	})
}

func (c statusCase) check(t *testing.T, got response) {
	t.Helper()
	if got.status != c.want {
		t.Fatalf("status %d, want %d: %s", got.status, c.want, got.body)
	}
	wantType := "text/plain; charset=utf-8"
	switch {
	case c.want == 409:
		wantType = "text/x.tlog.size"
		if got.body != c.says {
			t.Errorf("body %q, want %q", got.body, c.says)
		}
	case c.want != 200 && strings.Count(got.body, "\n") != 1:
		t.Errorf("the reason is not one line: %q", got.body)
	case !strings.Contains(got.body, c.says):
		t.Errorf("body %q does not say %q", got.body, c.says)
	}
	if have := got.header.Get("Content-Type"); have != wantType {
		t.Errorf("content type %q, want %q", have, wantType)
	}
}

// mustCosign sends a request that is to be answered with signatures, and returns
// them.
func mustCosign(t testing.TB, url, body string) string {
	t.Helper()
	got := postCheckpoint(t, url, body)
	if got.status != 200 {
		t.Fatalf("status %d: %s", got.status, got.body)
	}
	return got.body
}

// newestNote returns what monitors get, "" if there is nothing.
func newestNote(t testing.TB, url, origin string) string {
	t.Helper()
	got := getBody(t, url+"/"+witness.OriginHash(origin)+"/checkpoint")
	switch got.status {
	case 200:
		return got.body
	case 404:
		return ""
	}
	t.Fatalf("status %d: %s", got.status, got.body)
	return ""
}
