package client_test

import (
	"context"
	"errors"
	"iter"
	"strings"
	"testing"

	"github.com/stele-log/stele/pkg/client"
	"github.com/stele-log/stele/pkg/heads"
	"github.com/stele-log/stele/pkg/tile"
	"github.com/stele-log/stele/pkg/tree"
)

// committed shows a log whose checkpoint is of fewer entries than there are.
func committed(t *testing.T, published, size int) (l *memLog, head func(context.Context) (tree.Head, error)) {
	t.Helper()
	l = newMemLog(t, size)
	l.put("checkpoint", l.sign(t, l.head(published)))
	newest := l.head(size)
	return l, func(context.Context) (tree.Head, error) { return newest, nil }
}

// headsOf returns the log's heads of those sizes.
func (l *memLog) headsOf(sizes ...int) iter.Seq2[tree.Head, error] {
	return func(yield func(tree.Head, error) bool) {
		for _, size := range sizes {
			if !yield(l.head(size), nil) {
				return
			}
		}
	}
}

func TestEntriesThatNoCheckpointCoversAreChecked(t *testing.T) {
	t.Parallel()
	for _, size := range []int{600, 601, 700, 800, 1024} {
		l, head := committed(t, 600, size)
		o := client.CheckOptions{Committed: head, Heads: l.headsOf(0, 1, 300, 512, 600, size), History: historyOf(l.signAll(t, 0, 300, 600)...)}
		for _, r := range []tile.Reader{tile.FS(l), inARow{tile.FS(l)}} {
			report, err := client.Check(t.Context(), r, l.policy(t), o)
			if err != nil || report.Uncovered != uint64(size-600) || report.Size != 600 || report.Past != 3 {
				t.Errorf("%d entries: %+v, %v", size, report, err)
			}
		}
	}
}

func TestHeadsThatDisagreeAreNamed(t *testing.T) {
	t.Parallel()
	other := tree.LeafHash([]byte("another"))
	broken := errors.New("the database broke off")
	for _, test := range []struct {
		name   string
		change func(t *testing.T, l *memLog, o *client.CheckOptions)
		want   string
	}{
		{"an entry that no checkpoint covers", func(t *testing.T, l *memLog, o *client.CheckOptions) {
			change("tile/entries/002.p/188", replace("entry 650", "entry 65O"))(t, l)
		}, "entry 650 was changed: "},
		{"such an entry, and all tiles", func(t *testing.T, l *memLog, o *client.CheckOptions) { rewrite(650)(t, l) },
			"newest head: it is size 700*one of the entries 600 to 699"},
		{"a head", func(t *testing.T, l *memLog, o *client.CheckOptions) {
			o.Heads = func(yield func(tree.Head, error) bool) {
				_ = yield(l.head(0), nil) && yield(tree.Head{Size: 300, Root: other}, nil)
			}
		}, "head of size 300: it is size 300*it was changed, or one of the entries 0 to 299"},
		{"the head of a checkpoint", func(t *testing.T, l *memLog, o *client.CheckOptions) {
			o.Heads = func(yield func(tree.Head, error) bool) { yield(tree.Head{Size: 600, Root: other}, nil) }
		}, "head of size 600: it was changed*as the log has signed"},
		{"heads out of order", func(t *testing.T, l *memLog, o *client.CheckOptions) { o.Heads = l.headsOf(300, 200) },
			"the head of size 200 is out of order"},
		{"heads that cannot be read", func(t *testing.T, l *memLog, o *client.CheckOptions) {
			o.Heads = func(yield func(tree.Head, error) bool) { yield(tree.Head{}, broken) }
		}, broken.Error()},
		{"no newest head", func(t *testing.T, l *memLog, o *client.CheckOptions) {
			o.Committed = func(context.Context) (tree.Head, error) { return tree.Head{}, broken }
		}, broken.Error()},
		{"a newest head below the checkpoint", func(t *testing.T, l *memLog, o *client.CheckOptions) {
			o.Committed = func(context.Context) (tree.Head, error) { return l.head(599), nil }
		}, "the newest checkpoint signs 600 entries, and the newest committed head has 599"},
	} {
		l, head := committed(t, 600, 700)
		o := client.CheckOptions{Committed: head, Heads: l.headsOf(0, 300, 600, 700)}
		test.change(t, l, &o)
		_, err := client.Check(t.Context(), tile.FS(l), l.policy(t), o)
		wantParts(t, test.name, err, test.want)
	}
}

// wantParts fails the test unless an error has all parts, which * separates, in order.
func wantParts(t *testing.T, name string, err error, parts string) {
	t.Helper()
	if err == nil {
		t.Errorf("%s: no error, want %q", name, parts)
		return
	}
	rest := err.Error()
	for part := range strings.SplitSeq(parts, "*") {
		_, after, ok := strings.Cut(rest, part)
		if !ok {
			t.Errorf("%s: the error is %v, want %q", name, err, parts)
			return
		}
		rest = after
	}
}

func TestHeadsCommittedSinceAreLeftAlone(t *testing.T) {
	t.Parallel()
	l, head := committed(t, 600, 700)
	larger := newMemLog(t, 900)
	o := client.CheckOptions{Committed: head, Heads: larger.headsOf(0, 700, 900)}
	if report, err := client.Check(t.Context(), tile.FS(l), l.policy(t), o); err != nil || report.Uncovered != 100 {
		t.Errorf("%+v, %v", report, err)
	}
}

func TestLogMustContainWhatIsKnown(t *testing.T) {
	t.Parallel()
	l, head := committed(t, 600, 700)
	fork := newMemLog(t, 700)
	rewrite(100)(t, fork)
	known := func(l *memLog, size int, unpublished bool) client.KnownHead {
		return client.KnownHead{Name: "what I have", Head: l.head(size), Unpublished: unpublished}
	}
	for _, test := range []struct {
		name  string
		known []client.KnownHead
		want  string // empty if the log contains it
	}{
		{"none", nil, ""},
		{"the empty head", []client.KnownHead{known(l, 0, false)}, ""},
		{"several, in any order", []client.KnownHead{known(l, 600, false), known(l, 5, false), known(l, 300, false), known(l, 300, true)}, ""},
		{"before the other history", []client.KnownHead{known(fork, 100, false)}, ""},
		{"signed, and not published yet", []client.KnownHead{known(l, 700, true)}, ""},
		{"published, and not any more", []client.KnownHead{known(l, 601, false)},
			"what I have: the log has signed 601 entries, and shows 600*from 600 on were cut off"},
		{"signed, and not there any more", []client.KnownHead{{Name: "what I have", Head: tree.Head{Size: 701}, Unpublished: true}},
			"what I have: the log has signed 701 entries, and shows 700"},
		{"of another history", []client.KnownHead{known(l, 50, false), known(fork, 300, false)},
			"what I have: it signs size 300*one of the entries 50 to 299 was changed, or another history was signed"},
		{"of another history, of the newest size", []client.KnownHead{known(fork, 600, false)}, "what I have: it signs size 600"},
	} {
		_, err := client.Check(t.Context(), tile.FS(l), l.policy(t), client.CheckOptions{Committed: head, Known: test.known})
		if test.want != "" {
			wantParts(t, test.name, err, test.want)
		} else if err != nil {
			t.Errorf("%s: %v", test.name, err)
		}
	}
}

// TestCheckTellsWhatItCouldNotRead from what it has read.
func TestCheckTellsWhatItCouldNotRead(t *testing.T) {
	t.Parallel()
	broken := tile.Unchecked(errors.New("the network broke off"))
	l := newMemLog(t, 700)
	bad := l.clone()
	remove("tile/entries/001")(t, bad)
	empty := l.clone()
	remove("checkpoint")(t, empty)
	other := l.clone()
	other.useKey(t, "log.example/other", 2)
	other.write(t)
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for _, test := range []struct {
		name      string
		ctx       context.Context
		r         tile.Reader
		history   iter.Seq2[heads.Checkpoint, error]
		unchecked bool
	}{
		{"no checkpoint", t.Context(), tile.FS(empty), nil, true},
		{"another log", t.Context(), tile.FS(other), nil, true},
		{"a bundle that cannot be read", t.Context(), watched{tile.FS(l), func(context.Context, tile.Tile) error { return broken }}, nil, true},
		{"a history that cannot be read", t.Context(), tile.FS(l),
			func(yield func(heads.Checkpoint, error) bool) { yield(heads.Checkpoint{}, broken) }, true},
		{"interrupted", ended, tile.FS(l), nil, true},
		{"no bundle", t.Context(), tile.FS(bad), nil, false},
		{"no checkpoint of the history", t.Context(), tile.FS(l), numbered(l.signAll(t, 10), 1), false},
	} {
		_, err := client.Check(test.ctx, test.r, l.policy(t), client.CheckOptions{History: test.history})
		if err == nil || errors.Is(err, tile.ErrUnchecked) != test.unchecked {
			t.Errorf("%s: the error %v wraps ErrUnchecked: %t", test.name, err, !test.unchecked)
		}
	}
	if _, err := client.Check(t.Context(), tile.FS(empty), l.policy(t), client.CheckOptions{}); !errors.Is(err, client.ErrNoLog) {
		t.Errorf("without a checkpoint the error is %v", err)
	}
}
