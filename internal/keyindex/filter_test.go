package keyindex

import (
	"math/rand/v2"
	"testing"
)

// TestFilterKnowsItsKeysAndFewOthers looks at words and lines by themselves and
// together: that one of them lets too much through would be felt in speed alone.
func TestFilterKnowsItsKeysAndFewOthers(t *testing.T) {
	t.Parallel()
	const asked = 1 << 21
	random := rand.New(rand.NewPCG(1, 2))
	key := func(int) uint64 { return random.Uint64N(1 << keyBits) }
	for _, length := range []int{RunLength, RunLength * fanOut} {
		pairs := pairsOf(keysFrom(length, key))
		stored, err := decodeFilter(newFilter(pairs).encode(), length)
		if err != nil {
			t.Fatal(err)
		}
		b := &bank{rows: make([]row, len(stored.words))}
		const column = 5
		b.put(column, stored.words)

		own := make([]uint64, length)
		for i, p := range pairs {
			own[i] = p.key()
		}
		for i, found := range b.lookUp(own, column, 1) {
			if found != 1 || !stored.lines.contain(own[i]) {
				t.Fatalf("the filter of a run of %d does not know its key %#x", length, own[i])
			}
		}
		inWords, inLines, inBoth := 0, 0, 0
		others := keysFrom(asked, key)
		for i, found := range b.lookUp(others, column, 1) {
			in := stored.lines.contain(others[i])
			if found == 1 {
				inWords++
			}
			if in {
				inLines++
			}
			if found == 1 && in {
				inBoth++
			}
		}
		t.Logf("of %d others in a run of %d: %d in words, %d in lines, %d in both", asked, length, inWords, inLines, inBoth)
		if inWords > asked/25 || inLines > asked/1500 || inBoth > asked/25_000 {
			t.Errorf("a filter of a run of %d knows %d of %d other keys, its words %d, its lines %d",
				length, inBoth, asked, inWords, inLines)
		}
	}
}
