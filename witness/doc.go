// Package witness implements both sides of C2SP tlog-witness
// (https://c2sp.org/tlog-witness): a [Server] that cosigns the checkpoints of
// logs, and the [Gatherer] with which a log collects cosignatures.
//
// A cosignature states that this is the largest tree of the log that the witness
// has seen so far, and that it has grown out of all those that it signed before. A
// witness stores no entries. If a checkpoint has the cosignatures of enough
// trusted witnesses, the log cannot show another history to anybody who relies on
// the same witnesses.
//
// A request to the server is parsed (request.go), checked against the recorded
// head of its log, signed, and recorded in the [Store] before the answer is sent
// (addcheckpoint.go). On the side of the log, a Gatherer has one witnessClient for
// each witness (gather.go, witnessclient.go), which remembers the size that the
// witness has on record; the clients beneath, with their connections and limits,
// are shared by all logs of a process in a [Pool].
//
// What always holds of the server:
//   - a checkpoint is signed only if its tree has grown out of the one that was
//     signed last for that origin, and is signed by the log itself;
//   - no signature leaves before its checkpoint is durable: the [Store] replaces
//     the head that the proof was checked against and no other, in one
//     transaction. If the outcome of that is unknown, the answer is an error
//     without a signature;
//   - the signed text is printed from the parsed checkpoint, and never copied from
//     the request.
//
// Where the document leaves a choice, the server's is:
//   - it cosigns with Ed25519 (cosignature/v1) and ML-DSA-44 (subtree/v1), in
//     this order. Extension lines are cosigned with Ed25519 alone: ML-DSA-44
//     signatures do not cover them, so a verifier that relied on one would take
//     lines that anybody may have added for witnessed ones;
//   - a log's origin is the name of its keys, of 255 bytes at most. A longer one is
//     unknown, like any other that no log has;
//   - two signature lines of one key make a request malformed (400), if one of the
//     log's keys fails in them not signed by the log (403);
//   - the order of checks is: syntax (400), origin (404), the log's signature
//     (403), paused (503), old size above the new one (400), old size not the
//     recorded one (409), root of the empty tree, proof and root (422), quota
//     (429);
//   - a checkpoint that was signed before is signed again, with a new time, if it
//     is the newest; an older one is a stale request like any other;
//   - the quota of a log counts the checkpoints by which it grew in a UTC day. It
//     does not count requests, since anybody can replay the newest checkpoint and
//     could use it up. Once it is used up nothing is signed;
//   - the newest cosigned checkpoint of an origin is public, at
//     /<lower-case hex SHA-256 of the origin>/checkpoint.
//
// A Server is safe for concurrent use, and several may share a Store.
package witness
