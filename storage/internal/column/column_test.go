package column_test

import (
	"errors"
	"math"
	"slices"
	"testing"

	"github.com/stele-log/stele/storage"
	"github.com/stele-log/stele/storage/internal/column"
)

func TestKeysKeepTheirOrder(t *testing.T) {
	t.Parallel()
	keys := []uint64{0, 1, 1<<63 - 1, 1 << 63, 1<<63 + 1, math.MaxUint64}
	var stored []int64
	for _, key := range keys {
		n := column.FromKey(key)
		if got := column.ToKey(n); got != key {
			t.Errorf("key %d is stored as %d, and read as %d", key, n, got)
		}
		stored = append(stored, n)
	}
	if !slices.IsSorted(stored) || stored[0] != math.MinInt64 {
		t.Errorf("the keys are stored as %d, not in order", stored)
	}
}

func TestIndexBeyondAnyLogIsBounded(t *testing.T) {
	t.Parallel()
	for index, want := range map[uint64]uint64{0: 0, 5: 5, math.MaxInt64: math.MaxInt64, math.MaxUint64: math.MaxInt64} {
		if got := column.Bound(index); got != want {
			t.Errorf("index %d is bounded to %d, want %d", index, got, want)
		}
	}
}

func TestHashOfAnotherLengthIsDamaged(t *testing.T) {
	t.Parallel()
	if h, err := column.ToHash(make([]byte, 32)); err != nil || h != [32]byte{} {
		t.Errorf("32 bytes are %v, error %v", h, err)
	}
	for _, n := range []int{0, 31, 33} {
		if _, err := column.ToHash(make([]byte, n)); !errors.Is(err, storage.ErrDamaged) {
			t.Errorf("%d bytes: error %v, want %q", n, err, storage.ErrDamaged)
		}
	}
}
