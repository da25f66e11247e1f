package server_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stele-log/stele/pkg/event"
	"github.com/stele-log/stele/pkg/tree"
	"github.com/stele-log/stele/storage"
	"github.com/stele-log/stele/storage/storagetest"
)

// addGrant makes a principal an admin as whoever owns the database would try to: by an
// entry of the system log, with its chunk and a head that builds on the newest.
func addGrant(t *testing.T, store storage.Store, principal string) {
	t.Helper()
	l, err := store.OpenLog(t.Context(), "system")
	if err != nil {
		t.Fatal(err)
	}
	var f tree.Frontier
	for _, e := range storagetest.Check(t, l) {
		f.Append([]tree.Hash{tree.LeafHash(e)})
	}
	newest, err := l.Head(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	text := fmt.Sprintf(`{"type":"stele.grant.added","source":"stele","data":{"id":"aaaaaaaaaa","principal":%q,"role":"admin","log":"*"}}`, principal)
	e, err := event.Parse([]byte(text), event.Sender{Name: "admin", Authenticated: true})
	if err != nil {
		t.Fatal(err)
	}
	batch := storagetest.Batch(t, newest.Epoch, &f, [][]byte{e.AppendEntry(nil, time.Now())})
	if err := l.Commit(t.Context(), batch); err != nil {
		t.Fatal(err)
	}
}
