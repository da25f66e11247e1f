package witnessdb

// The statements work in both databases. Table names have no schema, since a
// connection searches only one, and parameters are numbered as in PostgreSQL,
// which modernc.org/sqlite accepts.
const (
	sqlPing  = `SELECT 1`
	sqlOwner = `SELECT vkey FROM owner`

	// sqlSetOwner sets the owner, unless there is one: the table has one row.
	sqlSetOwner = `INSERT INTO owner (id, vkey) VALUES (1, $1) ON CONFLICT DO NOTHING`

	sqlLogs = `SELECT origin, size, root, signed_at, paused, listed, qpd, day, used FROM logs ORDER BY origin`
	sqlLog  = `SELECT origin, size, root, signed_at, paused, listed, qpd, day, used FROM logs WHERE origin = $1`

	// Keys are returned in the order in which they were added.
	sqlAllKeys = `SELECT origin, vkey FROM keys ORDER BY key_id`
	sqlKeys    = `SELECT vkey FROM keys WHERE origin = $1 ORDER BY key_id`

	// sqlNote finds a log by the hash in the URL of its newest checkpoint. A log for
	// which nothing was signed has no note.
	sqlNote = `SELECT note FROM logs WHERE origin_hash = $1 AND note IS NOT NULL`

	// sqlAdvance replaces the head that the checks were made against, and no
	// other. Only a log that grows uses its quota; a new day begins at 0.
	sqlAdvance = `
UPDATE logs
SET size = $1, root = $2, note = $3, signed_at = $4, day = $5,
  used = CASE WHEN day = $5 THEN used ELSE 0 END + CASE WHEN size < $1 THEN 1 ELSE 0 END
WHERE origin = $6 AND size = $7 AND root = $8 AND NOT paused`

	// A log is added with the empty tree, and only grows from there: triggers refuse
	// all else.
	sqlHasLog = `SELECT EXISTS (SELECT 1 FROM logs WHERE origin = $1)`
	sqlAddLog = `
INSERT INTO logs (origin, origin_hash, size, root, listed, qpd)
VALUES ($1, $2, 0, $3, $4, $5) ON CONFLICT DO NOTHING`
	sqlAddKey = `INSERT INTO keys (origin, vkey) VALUES ($1, $2) ON CONFLICT DO NOTHING`

	sqlSetPaused = `UPDATE logs SET paused = $1 WHERE origin = $2`
)
