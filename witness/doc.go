// Package witness is both sides of C2SP tlog-witness
// (https://c2sp.org/tlog-witness): a [Server] that cosigns the checkpoints of
// logs, and what a log needs to gather cosignatures.
//
// A witness says of a log: as of now, this is the largest tree I have seen, and
// it has grown out of all those I have signed before. It keeps no entries. Who
// trusts enough witnesses need not fear that the log shows others another
// history.
//
// What always holds of the server:
//   - a checkpoint is signed only if its tree has grown out of the one that was
//     signed last for that origin, and is signed by the log itself;
//   - no signature leaves before the checkpoint it stands on is durable: the
//     [Store] replaces the head that the proof was checked against and no other,
//     in one transaction. If the outcome of that is unknown, the answer is an
//     error without a signature;
//   - a request is answered from what it was parsed into and prints as again;
//     what is signed is never a byte that came in.
//
// Where the document leaves a choice, the server's is:
//   - it cosigns with Ed25519 (cosignature/v1) and ML-DSA-44 (subtree/v1), in
//     this order. Extension lines are cosigned with Ed25519 alone: ML-DSA-44
//     signatures do not cover them, and whoever relies on one would take lines
//     for witnessed that anybody may have added;
//   - a log's origin is the name of its keys;
//   - the order of checks is: syntax (400), origin (404), the log's signature
//     (403), paused (503), old size above the new one (400), old size not the
//     recorded one (409), root of the empty tree, proof and root (422), quota
//     (429);
//   - a checkpoint that was signed before is signed again, with a new time, if it
//     is the newest; an older one is a stale request like any other;
//   - the quota of a log is counted in checkpoints by which it grew, for a UTC
//     day: anybody can replay the newest checkpoint, and could use it up
//     otherwise. Once it is used up nothing is signed;
//   - anybody may ask for the newest cosigned checkpoint of an origin, at
//     /<lower-case hex SHA-256 of the origin>/checkpoint.
//
// A Server is safe for concurrent use, and several may share a Store.
package witness
