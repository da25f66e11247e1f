package proof

import (
	"errors"
	"fmt"

	"github.com/transparency-dev/merkle/proof"
	"github.com/transparency-dev/merkle/rfc6962"

	"github.com/stele-log/stele/pkg/tree"
)

// VerifyInclusion checks the proof that the entry with that leaf hash is at
// index in the tree with that head.
//
// SPEC: RFC 9162 section 2.1.3.2.
func VerifyInclusion(leaf tree.Hash, index uint64, head tree.Head, hashes []tree.Hash) error {
	if err := checkCount(hashes); err != nil {
		return fmt.Errorf("inclusion proof of index %d: %w", index, err)
	}
	root, err := proof.RootFromInclusionProof(rfc6962.DefaultHasher, index, head.Size, leaf[:], byteSlices(hashes))
	if err != nil {
		return fmt.Errorf("inclusion proof of index %d: %w", index, err)
	}
	if tree.Hash(root) != head.Root {
		return fmt.Errorf("inclusion proof of index %d leads to the root %s, not to that of %s: "+
			"the entry, the index or the proof is not of this tree", index, tree.Hash(root), head)
	}
	return nil
}

// VerifyConsistency checks the proof that the tree with head from is a prefix
// of the tree with head to. Every tree is consistent with the empty one, and
// itself, by the empty proof.
//
// SPEC: RFC 9162 section 2.1.4.2.
func VerifyConsistency(from, to tree.Head, hashes []tree.Hash) error {
	if err := verifyConsistency(from, to, hashes); err != nil {
		return fmt.Errorf("consistency proof from size %d to %d: %w", from.Size, to.Size, err)
	}
	return nil
}

func verifyConsistency(from, to tree.Head, hashes []tree.Hash) error {
	if from.Size > to.Size {
		return errors.New("the first size is larger than the second")
	}
	for _, head := range []tree.Head{from, to} {
		if head.Size == 0 && head.Root != tree.EmptyRoot {
			return fmt.Errorf("root of size 0 is %s, not that of the empty tree", head.Root)
		}
	}
	if err := checkCount(hashes); err != nil {
		return err
	}
	err := proof.VerifyConsistency(rfc6962.DefaultHasher, from.Size, to.Size, byteSlices(hashes), from.Root[:], to.Root[:])
	// The library prints roots as lists of numbers.
	if mismatch := (proof.RootMismatchError{}); errors.As(err, &mismatch) {
		return fmt.Errorf("it leads to the root %s, not to %s",
			tree.Hash(mismatch.CalculatedRoot), tree.Hash(mismatch.ExpectedRoot))
	}
	return err
}

func checkCount(hashes []tree.Hash) error {
	if len(hashes) > MaxHashes {
		return fmt.Errorf("%d hashes, want at most %d", len(hashes), MaxHashes)
	}
	return nil
}

// byteSlices returns the hashes as the merkle library takes them.
func byteSlices(hashes []tree.Hash) [][]byte {
	s := make([][]byte, len(hashes))
	for i := range hashes {
		s[i] = hashes[i][:]
	}
	return s
}
