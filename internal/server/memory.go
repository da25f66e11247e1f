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
	// softLimit is how many bytes the process takes at most, unless more than two
	// thirds of it are in use.
	softLimit = 440 << 20

	// limitEvery is how often the limit follows what is in use.
	limitEvery = 10 * time.Second
)

// limitMemory keeps a heap that is large from doubling between collections, until
// the context ends. Most of what a large log keeps in memory are filters and
// tiles, which a collection passes over, so collecting more often costs little.
// The limit grows with what is in use: at a limit that is too small the process
// would do little else than collect. GOGC and GOMEMLIMIT in the environment take
// precedence.
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
