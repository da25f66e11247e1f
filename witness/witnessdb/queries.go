package witnessdb

// The statements are those of both databases: names are found in the only
// schema that a connection looks into, and parameters are numbered as in
// PostgreSQL, which modernc.org/sqlite understands.
const (
	sqlPing  = `SELECT 1`
	sqlOwner = `SELECT vkey FROM owner`

	sqlSetOwner = `INSERT INTO owner (id, vkey) VALUES (1, $1) ON CONFLICT DO NOTHING`

	sqlLogs = `SELECT origin, size, root, signed_at, paused, listed, qpd, day, used FROM logs ORDER BY origin`
	sqlLog  = `SELECT origin, size, root, signed_at, paused, listed, qpd, day, used FROM logs WHERE origin = $1`

	sqlAllKeys = `SELECT origin, vkey FROM keys ORDER BY key_id`
	sqlKeys    = `SELECT vkey FROM keys WHERE origin = $1 ORDER BY key_id`
	sqlNote    = `SELECT note FROM logs WHERE origin_hash = $1 AND note IS NOT NULL`

	// sqlAdvance replaces the head that the checks were made against, and no
	// other. Only a log that grows uses its quota.
	sqlAdvance = `
UPDATE logs
SET size = $1, root = $2, note = $3, signed_at = $4, day = $5,
  used = CASE WHEN day = $5 THEN used ELSE 0 END + CASE WHEN size < $1 THEN 1 ELSE 0 END
WHERE origin = $6 AND size = $7 AND root = $8 AND NOT paused`

	sqlHasLog = `SELECT EXISTS (SELECT 1 FROM logs WHERE origin = $1)`
	sqlAddLog = `
INSERT INTO logs (origin, origin_hash, size, root, listed, qpd)
VALUES ($1, $2, 0, $3, $4, $5) ON CONFLICT DO NOTHING`
	sqlAddKey = `INSERT INTO keys (origin, vkey) VALUES ($1, $2) ON CONFLICT DO NOTHING`

	sqlSetPaused = `UPDATE logs SET paused = $1 WHERE origin = $2`
)
