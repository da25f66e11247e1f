// Package storagetest is the contract of package storage as tests, which both
// drivers pass. It also fills logs, and checks them, for the tests of others.
//
// Package storage tells the contract as prose; here each test states the rule it holds
// a driver to. A driver is right if it passes [Run]: the suite reads and writes only
// through the interfaces of package storage, and knows neither SQL nor a schema. What
// is particular to a database, such as its triggers, is tested beside its driver.
//
// Each test has an empty database of its own, and all run in parallel.
package storagetest

import (
	"errors"
	"testing"

	"github.com/stele-log/stele/storage"
)

// Create makes an empty database with its schema, for one test, and returns
// what opens a store on it. The suite closes the stores.
type Create func(t *testing.T) (open func(t *testing.T) storage.Store)

// Run holds a driver to the contract, one subtest a rule. Most rules are tested on a new
// database with one log; those about other servers open a second store on it.
func Run(t *testing.T, create Create) {
	for _, test := range []struct {
		name string
		run  func(*testing.T, Create)
	}{
		{"a log is created once and opened by name", testCreateLog},
		{"concurrent creation makes one log", testCreateLogRace},
		{"logs do not see one another", testSeparateLogs},
		{"a commit is read back", testCommit},
		{"heads are read back in order", testHeads},
		{"batches of any size give the same log", testBatchSizes},
		{"a commit on a base that is not the newest is stale", testStale},
		{"of racing commits exactly one wins", testRace},
		{"a malformed batch is refused whole", testMalformed},
		{"readers see whole commits", testReadersSeeWholeCommits},
		{"large entries are kept", testLargeEntries},
		{"chunks are found by the entries in them", testChunks},
		{"the chunks of bundles are read from many places", testChunksOf},
		{"tiles are read in a row", testEachTile},
		{"what is not there is not found", testNotFound},
		{"a log survives its store", testReopen},
		{"connections are counted", testConnections},
		{"a cancelled context stores nothing", testCancelled},
		{"a lease is exclusive until released", testLease},
		{"a lease ends with its store", testLeaseEndsWithStore},
		{"logs are led one by one", testLeaseEachLog},
		{"any epoch but the newest is fenced", testFence},
		{"no commit of an old epoch follows a new one", testFenceRace},
		{"checkpoints are numbered without gaps", testCheckpoints},
		{"of racing checkpoints exactly one is stored", testCheckpointRace},
		{"runs replace those within them", testReplaceRuns},
		{"a run that cannot be stored replaces nothing", testReplaceRunsFails},
		{"pages are found by keys of 64 bits", testRunPages},
		{"the first secret stays, and removes runs made without it", testSecret},
		{"a cursor moves only from where it stands", testMoveCursor},
		{"of racing moves exactly one is made", testMoveRace},
		{"runs and the cursor change together or not at all", testReplaceRunsWithCursor},
		{"runs are dropped with the cursor or not at all", testDropRuns},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			test.run(t, create)
		})
	}
}

// newStore returns a store on a new database.
func newStore(t *testing.T, create Create) storage.Store {
	t.Helper()
	return openStore(t, create(t))
}

// openStore opens a store to the end of the test.
func openStore(t *testing.T, open func(*testing.T) storage.Store) storage.Store {
	t.Helper()
	s := open(t)
	t.Cleanup(func() { s.Close() }) // some tests close it themselves
	return s
}

// newLog returns an empty log in a store.
func newLog(t *testing.T, s storage.Store, name string) storage.Log {
	t.Helper()
	l, err := s.CreateLog(t.Context(), name, "log.example/"+name)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// wantError fails the test unless err is the sentinel want.
func wantError(t *testing.T, what string, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("%s: error %v, want %q", what, err, want)
	}
}
