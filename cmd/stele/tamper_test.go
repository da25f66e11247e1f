package main_test

import (
	"fmt"
	"strings"
	"syscall"
	"testing"

	"github.com/stele-log/stele/pkg/client"
	"github.com/stele-log/stele/storage"
)

// flip returns a change of one bit of the byte at a place, from the end if it is
// negative.
func flip(at int) func([]byte) []byte {
	return func(b []byte) []byte {
		b[(at+len(b))%len(b)] ^= 1
		return b
	}
}

// TestCheckNamesWhatTheDatabasesOwnerChanged changes one byte of what is stored,
// behind the server's back, with every guard taken off.
func TestCheckNamesWhatTheDatabasesOwnerChanged(t *testing.T) {
	cases := []struct {
		name          string
		table, column string
		row           string
		change        func([]byte) []byte
		says          string // by check, in this order, separated by *
	}{
		{"a byte of a chunk", "chunks", "data", "start = 256", flip(-20), "entries 256 to 511: read tile/entries/001"},
		{"the first byte of a chunk", "chunks", "data", "start = 512", flip(0), "entries 512 to 767: read tile/entries/002"},
		{"an entry in a chunk", "chunks", "data", "start = 256", changeEntry(256, 44), "entry 300 was changed*leaf hash"},
		{"an entry in the newest chunk", "chunks", "data", "start = 896", changeEntry(896, 3), "checkpoint 4*one of the entries 768 to 899 was changed"},
		{"a hash in a tile", "tiles", "data", `level = 0 AND "index" = 1`, flip(32*17 + 5), "entry 273*tile/0/001 was changed at hash 17"},
		{"the hash of a tile", "tiles", "root", `level = 0 AND "index" = 2`, flip(3), "tile/1/000.p/3 was changed at hash 2, over entries 512 to 767"},
		{"the newest checkpoint", "checkpoints", "note", "number = (SELECT max(number) FROM checkpoints)", flip(60), "checkpoint"},
		{"an old checkpoint", "checkpoints", "note", "number = 1", flip(-10), "checkpoint 1"},
		{"the size in an old checkpoint", "checkpoints", "note", "number = 1", flip(30), "checkpoint 1"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			onBoth(t, func(t *testing.T, d database) {
				s := serve(t, d.flags...)
				key := fill(t, s)
				stored := append([]string{"check", "--key", key}, d.flags...)
				run(t, 0, "check", s.url+"/logs/default", "--key", key)
				run(t, 0, stored...)
				s.end(syscall.SIGTERM)

				row := c.row + " AND log_id = (SELECT log_id FROM logs WHERE name = 'default')"
				if d.url != "" {
					row = strings.NewReplacer("FROM checkpoints", "FROM stele.checkpoints", "FROM logs", "FROM stele.logs").Replace(row)
				}
				d.tamper(t, c.table, c.column, row, c.change)

				s = serve(t, d.flags...)
				for _, args := range [][]string{{"check", s.url + "/logs/default", "--key", key}, stored} {
					_, stderr := run(t, 1, args...)
					for rest := range strings.SplitSeq(c.says, "*") {
						if !strings.Contains(stderr, rest) {
							t.Errorf("%s says %q, want it to say %q", strings.Join(args, " "), stderr, rest)
						}
					}
				}
			})
		})
	}
}

// fill appends 900 events, two chunks a bundle, with several checkpoints, and
// returns the log's key.
func fill(t *testing.T, s *served) string {
	t.Helper()
	c := newClient(t, s)
	for start, n := 0, 256; start < 900; start += n {
		events := make([]client.Event, min(n, 900-start))
		for i := range events {
			events[i] = client.Event{ID: fmt.Sprint(start + i), Source: "test", Type: "t", Data: "some content"}
		}
		if _, err := c.Append(t.Context(), events...); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Receipt(t.Context(), uint64(start+len(events)-1), true); err != nil {
			t.Fatal(err)
		}
	}
	return vkey(t, c)
}

// changeEntry changes one byte of one entry of a chunk, and makes it a chunk
// that decompresses.
func changeEntry(start uint64, i int) func([]byte) []byte {
	return func(data []byte) []byte {
		count := int(min(128, 900-start))
		bundle, err := storage.Chunk{Start: start, Count: count, Data: data}.Decode(nil)
		if err != nil {
			panic(err)
		}
		at := strings.Index(string(bundle), fmt.Sprintf(`"id":"%d"`, start+uint64(i)))
		at += strings.Index(string(bundle[at:]), "some content")
		bundle[at] = 'S'
		return storage.EncodeChunk(start, count, bundle).Data
	}
}
