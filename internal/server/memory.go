package server

import (
	"context"
	"math"
	"os"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

const (
	// softLimit is the number of bytes that the runtime tries to stay within, unless
	// more than two thirds of it are in use.
	softLimit = 440 << 20

	// limitEvery is how often the limit is adapted to the heap.
	limitEvery = 10 * time.Second
)

// limitMemory keeps a large heap from doubling between collections, until the
// context ends. A large log keeps mostly filters and tiles in memory, which hold
// no pointers to follow, so collecting more often costs little. The limit grows
// with the heap, since with too small a limit the process would do little but
// collect. GOGC and GOMEMLIMIT in the environment take precedence.
func limitMemory(ctx context.Context) {
	if os.Getenv("GOGC") != "" || os.Getenv("GOMEMLIMIT") != "" {
		return
	}
	defer debug.SetMemoryLimit(math.MaxInt64)
	live := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	for {
		metrics.Read(live)
		inUse := int64(live[0].Value.Uint64())
		debug.SetMemoryLimit(max(softLimit, inUse+inUse/2))
		select {
		case <-time.After(limitEvery):
		case <-ctx.Done():
			return
		}
	}
}
