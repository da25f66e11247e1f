// Package column converts between the types of package storage and what both
// databases hold in a column: signed integers of 64 bits, and strings of bytes.
package column

import (
	"fmt"
	"math"

	"github.com/stele-log/stele/pkg/tree"
	"github.com/stele-log/stele/storage"
)

// Bound makes an index that no log has reached one that a column holds, so that
// asking for it finds nothing.
func Bound(index uint64) uint64 { return min(index, math.MaxInt64) }

// FromKey maps the keys of a key index, which use all 64 bits, onto the integers,
// in order.
func FromKey(key uint64) int64 { return int64(key ^ 1<<63) }

// ToKey undoes FromKey.
func ToKey(n int64) uint64 { return uint64(n) ^ 1<<63 }

// ToSecret returns the secret that a column holds. The error is
// [storage.ErrDamaged] if it has not 16 bytes.
func ToSecret(b []byte) (storage.Secret, error) {
	if len(b) != len(storage.Secret{}) {
		return storage.Secret{}, fmt.Errorf("secret of %d bytes: %w", len(b), storage.ErrDamaged)
	}
	return storage.Secret(b), nil
}

// ToHash returns the hash that a column holds. The error is
// [storage.ErrDamaged] if it has not 32 bytes.
func ToHash(b []byte) (tree.Hash, error) {
	if len(b) != tree.HashSize {
		return tree.Hash{}, fmt.Errorf("hash of %d bytes: %w", len(b), storage.ErrDamaged)
	}
	return tree.Hash(b), nil
}
