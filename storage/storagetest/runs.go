package storagetest

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"
	"testing"

	"github.com/stele-log/stele/storage"
)

// testReplaceRuns: a run takes the place of those of its kind and log that lie within
// its span, and of no others: not of one that only overlaps, and a run of the same span
// replaces the one there is. The pages and filters of those replaced are not found, also
// where another run begins at the same entry.
func testReplaceRuns(t *testing.T, create Create) {
	s := newStore(t, create)
	l, other := newLog(t, s, "one"), newLog(t, s, "two")
	replace(t, other, "event", 0, 100)
	replace(t, l, "leaf", 0, 100)
	for start := uint64(0); start < 500; start += 100 {
		replace(t, l, "event", start, start+100)
	}
	wantRuns(t, l, "event", "[0,100) [100,200) [200,300) [300,400) [400,500) ")
	replace(t, l, "event", 100, 300)
	wantRuns(t, l, "event", "[0,100) [100,300) [300,400) [400,500) ")
	replace(t, l, "event", 0, 399)
	wantRuns(t, l, "event", "[0,399) [300,400) [400,500) ")
	replace(t, l, "event", 0, 500)
	wantRuns(t, l, "event", "[0,500) ")
	replace(t, l, "event", 0, 500)
	wantRuns(t, l, "event", "[0,500) ")
	wantRuns(t, l, "leaf", "[0,100) ")
	wantRuns(t, l, "none", "")
	wantRuns(t, other, "event", "[0,100) ")

	wantPages(t, l, "event", 0, 500, runPages(0, 500))
	if err := l.Runs().Replace(t.Context(), storage.Run{Kind: "unfiltered", Start: 0, End: 100}, slices.Values[[]storage.Page](nil), nil); err != nil {
		t.Fatal(err)
	}
	filter, err := l.Runs().Filter(t.Context(), storage.Run{Kind: "unfiltered", Start: 0, End: 100})
	if err != nil || len(filter) > 0 {
		t.Errorf("a run without a filter has that of %q, error %v", filter, err)
	}
	for _, gone := range []storage.Run{{Kind: "event", Start: 300, End: 400}, {Kind: "event", Start: 0, End: 399}, {Kind: "event", Start: math.MaxUint64}} {
		_, err = l.Runs().Pages(t.Context(), gone, []uint64{1})
		wantError(t, "read pages of a run that was replaced", err, storage.ErrNotFound)
		err = l.Runs().EachPage(t.Context(), gone, func(storage.Page) error { return nil })
		wantError(t, "read all pages of a run that was replaced", err, storage.ErrNotFound)
		_, err = l.Runs().Filter(t.Context(), gone)
		wantError(t, "read the filter of a run that was replaced", err, storage.ErrNotFound)
	}
}

// testReplaceRunsFails: if a run cannot be stored, those that it would have replaced
// remain with their pages. Two runs of a kind cannot start at one entry.
func testReplaceRunsFails(t *testing.T, create Create) {
	l := newLog(t, newStore(t, create), "default")
	replace(t, l, "event", 0, 100)
	replace(t, l, "event", 100, 200)
	for name, test := range map[string]struct {
		run   storage.Run
		pages []storage.Page
	}{
		"a page twice": {
			storage.Run{Kind: "event", Start: 0, End: 200},
			[]storage.Page{{First: 1, Data: []byte{1}}, {First: 1, Data: []byte{2}}},
		},
		"the start of a larger run": {storage.Run{Kind: "event", Start: 0, End: 50}, nil},
		"no entries":                {storage.Run{Kind: "event", Start: 200, End: 200}, nil},
	} {
		if err := l.Runs().Replace(t.Context(), test.run, slices.Values(test.pages), nil); err == nil {
			t.Errorf("a run with %s was stored", name)
		}
		wantRuns(t, l, "event", "[0,100) [100,200) ")
		wantPages(t, l, "event", 0, 100, runPages(0, 100))
	}
}

// testRunPages: keys are unsigned and use all 64 bits, and pages are found in that
// order although both databases have signed integers: the cases lie around 1<<63. Each
// key gets the last page that begins at it or before, in the order of the keys asked
// for. A run without pages is not the same as no run.
func testRunPages(t *testing.T, create Create) {
	l := newLog(t, newStore(t, create), "default")
	run := storage.Run{Kind: "event", Start: 256, End: 512, Filter: []byte{1, 2, 3}}
	firsts := []uint64{5, 1<<63 - 1, 1 << 63, 1<<63 + 1, math.MaxUint64 - 1}
	var pages []storage.Page
	for _, first := range firsts {
		pages = append(pages, storage.Page{First: first, Data: fmt.Appendf(nil, "page of %d", first)})
	}
	if err := l.Runs().Replace(t.Context(), run, slices.Values(pages), nil); err != nil {
		t.Fatal(err)
	}
	wantPages(t, l, "event", 256, 512, pages)

	keys := []uint64{math.MaxUint64, 0, 4, 5, 6, 1<<63 - 2, 1<<63 - 1, 1 << 63, 1<<63 + 1, 1<<63 + 2, 5}
	want := []int{4, -1, -1, 0, 0, 0, 1, 2, 3, 3, 0} // pages, -1 for none
	got, err := l.Runs().Pages(t.Context(), run, keys)
	if err != nil || len(got) != len(keys) {
		t.Fatalf("%d pages, error %v; want %d", len(got), err, len(keys))
	}
	for i, key := range keys {
		var page storage.Page
		if want[i] >= 0 {
			page = pages[want[i]]
		}
		if got[i].First != page.First || !bytes.Equal(got[i].Data, page.Data) {
			t.Errorf("key %d is on page %d %q, want %d %q", key, got[i].First, got[i].Data, page.First, page.Data)
		}
	}
	if none, err := l.Runs().Pages(t.Context(), run, nil); err != nil || len(none) != 0 {
		t.Errorf("no keys are on %d pages, error %v", len(none), err)
	}

	stop := errors.New("stop")
	calls := 0
	err = l.Runs().EachPage(t.Context(), run, func(storage.Page) error { calls++; return stop })
	if !errors.Is(err, stop) || calls != 1 {
		t.Errorf("stopped after %d pages with error %v, want 1 and the error of the function", calls, err)
	}
	if err := l.Runs().Replace(t.Context(), run, slices.Values[[]storage.Page](nil), nil); err != nil {
		t.Fatal(err)
	}
	wantPages(t, l, "event", 256, 512, nil)
	if got, err = l.Runs().Pages(t.Context(), run, keys); err != nil || len(got) != len(keys) || got[0].Data != nil {
		t.Errorf("pages %v of a run without any, error %v", got, err)
	}
}

// testSecret: a kind of run has one secret a log, the first that was proposed, also
// where several are at once. It removes the runs of its kind and log, which were made
// without it, and no others; later proposals change nothing.
func testSecret(t *testing.T, create Create) {
	s := newStore(t, create)
	l, other := newLog(t, s, "one"), newLog(t, s, "two")
	replace(t, l, "event", 0, 100)
	replace(t, l, "leaf", 0, 100)
	replace(t, other, "event", 0, 100)
	var secrets [4]storage.Secret
	var wg sync.WaitGroup
	for i := range secrets {
		wg.Go(func() {
			var err error
			if secrets[i], err = l.Runs().Secret(t.Context(), "event", storage.Secret{15: byte(i + 1)}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	first := secrets[0]
	if first == (storage.Secret{}) || slices.ContainsFunc(secrets[:], func(s storage.Secret) bool { return s != first }) {
		t.Errorf("of four at once each got another secret: %x", secrets)
	}
	wantRuns(t, l, "event", "")
	wantRuns(t, l, "leaf", "[0,100) ")
	wantRuns(t, other, "event", "[0,100) ")

	replace(t, l, "event", 0, 100)
	if got, err := l.Runs().Secret(t.Context(), "event", storage.Secret{99}); err != nil || got != first {
		t.Errorf("the secret is %x, error %v, want %x", got, err, first)
	}
	wantRuns(t, l, "event", "[0,100) ")
	if got, err := other.Runs().Secret(t.Context(), "event", storage.Secret{99}); err != nil || got != (storage.Secret{99}) {
		t.Errorf("another log's secret is %x, error %v", got, err)
	}
}

// replace stores the run of the entries from start to end, with pages that
// tell which run they are of.
func replace(t *testing.T, l storage.Log, kind string, start, end uint64) {
	t.Helper()
	run := storage.Run{Kind: kind, Start: start, End: end, Filter: spanOf(start, end)}
	if err := l.Runs().Replace(t.Context(), run, slices.Values(runPages(start, end)), nil); err != nil {
		t.Fatal(err)
	}
}

// runPages returns pages whose contents tell where their run ends, and whose keys take
// up more than 32 bits.
func runPages(start, end uint64) []storage.Page {
	var pages []storage.Page
	for first := start; first < end; first += 10 {
		pages = append(pages, storage.Page{First: first << 32, Data: bytes.Repeat(fmt.Append(nil, end), 1000)})
	}
	return pages
}

// wantRuns compares the runs of a kind, which tell in their filters what they
// should be.
func wantRuns(t *testing.T, l storage.Log, kind, want string) {
	t.Helper()
	runs, err := l.Runs().List(t.Context(), kind)
	if err != nil {
		t.Fatal(err)
	}
	got := ""
	for _, r := range runs {
		filter, err := l.Runs().Filter(t.Context(), r)
		if err != nil || r.Kind != kind || string(filter) != fmt.Sprintf("[%d,%d)", r.Start, r.End) {
			t.Errorf("the %s run [%d,%d) has the filter of %q, error %v", r.Kind, r.Start, r.End, filter, err)
		}
		got += string(filter) + " "
	}
	if got != want {
		t.Errorf("the %s runs are %q, want %q", kind, got, want)
	}
}

// wantPages compares all pages of a run.
func wantPages(t *testing.T, l storage.Log, kind string, start, end uint64, want []storage.Page) {
	t.Helper()
	var got []storage.Page
	err := l.Runs().EachPage(t.Context(), storage.Run{Kind: kind, Start: start, End: end}, func(p storage.Page) error {
		got = append(got, storage.Page{First: p.First, Data: bytes.Clone(p.Data)})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	same := func(a, b storage.Page) bool { return a.First == b.First && bytes.Equal(a.Data, b.Data) }
	if !slices.EqualFunc(got, want, same) {
		t.Errorf("the %s run %d has %d pages, not the %d it should have", kind, start, len(got), len(want))
	}
}

// spanOf is what a run that tells what it should be has for a filter.
func spanOf(start, end uint64) []byte { return fmt.Appendf(nil, "[%d,%d)", start, end) }
