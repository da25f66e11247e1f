// Package golden holds today's code to a log that was written once, when the
// entry format was frozen: testdata/log-300, a log of 300 entries laid out as
// tlog-tiles says, with what it was made of in testdata/log-300.ndjson.
//
// Every later version must verify that log, and must make the same entries of
// the same events. What fails here is not to be mended by writing the log again:
// logs that people keep would fail just so.
package golden
