package sqlite

// Every statement the driver runs, by what it is for. The reader and the writer prepare
// each once for a connection, by its text. Values are bound by name.

// sqlHasVersions counts no table in a file without a schema, where sqlVersion fails.
const sqlHasVersions = `SELECT count(*) FROM sqlite_schema WHERE name = 'migrations'`

const sqlVersion = `SELECT max(version_id) FROM migrations`

// sqlGuards returns what each part of the schema is and how it is made. SQLite keeps
// statements as they were written.
const sqlGuards = `
SELECT type || ' ' || name || CASE type WHEN 'table' THEN '' ELSE ' of ' || tbl_name END, sql
FROM sqlite_schema WHERE sql IS NOT NULL`

// sqlBeyond returns a sentence for each log that has chunks which no head covers.
const sqlBeyond = `
SELECT 'log ' || name || ' has a chunk at entry ' || start || ' beyond its head of ' || size || ' entries, which no commit has made'
FROM (
  SELECT l.log_id, l.name, coalesce((SELECT max(size) FROM heads WHERE log_id = l.log_id), 0) AS size FROM logs l
) l
JOIN chunks c ON c.log_id = l.log_id AND c.start = (
  SELECT min(start) FROM chunks WHERE log_id = l.log_id AND start >= l.size)
ORDER BY name`

const sqlAddLog = `
INSERT INTO logs (name, origin, created_at) VALUES (@name, @origin, @now)
RETURNING log_id`

const sqlOpenLog = `
SELECT log_id, name, origin, created_at FROM logs WHERE name = @name`

const sqlLogs = `SELECT name, origin, created_at FROM logs ORDER BY name`

// sqlBeginEpoch adds one to the newest epoch; a trigger refuses any other number.
const sqlBeginEpoch = `
INSERT INTO epochs (log_id, epoch, holder, begun_at)
SELECT @log, coalesce(max(epoch), 0) + 1, @holder, @now FROM epochs WHERE log_id = @log
RETURNING epoch`

// sqlHead and sqlHeads give the head of size 0, which has no base, the base 0.
const sqlHead = `
SELECT size, root, coalesce(base, 0), epoch, mac FROM heads
WHERE log_id = @log ORDER BY size DESC LIMIT 1`

const sqlHeads = `
SELECT size, root, coalesce(base, 0), epoch, mac FROM heads
WHERE log_id = @log AND size >= @first ORDER BY size LIMIT @limit`

// sqlNewest reads what a commit must build on and be of.
const sqlNewest = `
SELECT
  (SELECT max(size) FROM heads WHERE log_id = @log),
  (SELECT coalesce(max(epoch), 0) FROM epochs WHERE log_id = @log)`

// sqlAddHead must come after the chunks it covers, as its trigger looks at the last of
// them, and before the tiles that are full below it, as theirs looks at the head.
const sqlAddHead = `
INSERT INTO heads (log_id, size, base, root, epoch, committed_at, mac)
VALUES (@log, @size, @base, @root, @epoch, @now, @mac)`

// sqlAddChunk must be run in the order of the entries: a trigger refuses a chunk that
// does not start where the last one ends.
const sqlAddChunk = `
INSERT INTO chunks (log_id, start, count, data) VALUES (@log, @start, @count, @data)`

const sqlAddTile = `
INSERT INTO tiles (log_id, level, "index", root, data) VALUES (@log, @level, @index, @root, @data)`

// The statements that read chunks and tiles stop at the newest head: what lies beyond it
// was made by no commit.

// sqlChunks looks for starts from the beginning of the first bundle on: a chunk does
// not straddle bundles, so none that starts before can reach into the range. That
// gives the primary key a lower bound.
const sqlChunks = `
SELECT start, count, data FROM chunks
WHERE log_id = @log AND start >= @start / 256 * 256 AND start < @end AND start + count > @start AND @start < @end
  AND start + count <= (SELECT max(size) FROM heads WHERE log_id = @log)
ORDER BY start`

// sqlChunksOf reads bundle by bundle, as each is a range of the primary key: SQLite does
// not change the order of a CROSS JOIN. The bundles come as a JSON array.
const sqlChunksOf = `
SELECT c.start, c.count, c.data
FROM json_each(@bundles) b
CROSS JOIN chunks c ON c.log_id = @log AND c.start >= b.value * 256 AND c.start < b.value * 256 + 256`

const sqlTile = `
SELECT data FROM tiles WHERE log_id = @log AND level = @level AND "index" = @index
  AND "index" < (SELECT max(size) FROM heads WHERE log_id = @log) >> 8 * (@level + 1)`

const sqlTiles = `
SELECT "index", data FROM tiles
WHERE log_id = @log AND level = @level AND "index" >= @start AND "index" < @end
  AND "index" < (SELECT max(size) FROM heads WHERE log_id = @log) >> 8 * (@level + 1)
ORDER BY "index"`

// sqlTileRoots reads 32 bytes a tile, not the tile's own 8192.
const sqlTileRoots = `
SELECT root FROM tiles
WHERE log_id = @log AND level = @level AND "index" >= @start AND "index" < @end
  AND "index" < (SELECT max(size) FROM heads WHERE log_id = @log) >> 8 * (@level + 1)
ORDER BY "index"`

const sqlAddCheckpoint = `
INSERT INTO checkpoints (log_id, number, size, note, published_at)
VALUES (@log, @number, @size, @note, @published)`

// sqlLastCheckpoint has the columns of sqlCheckpoints.
const sqlLastCheckpoint = `
SELECT number, size, note, published_at FROM checkpoints
WHERE log_id = @log ORDER BY number DESC LIMIT 1`

const sqlCheckpoints = `
SELECT number, size, note, published_at FROM checkpoints
WHERE log_id = @log AND number >= @first ORDER BY number LIMIT @limit`

const sqlCursor = `
SELECT version, next FROM cursors WHERE log_id = @log AND follower = @follower`

// sqlAddCursor returns no row if there is a cursor already.
const sqlAddCursor = `
INSERT INTO cursors (log_id, follower, version, next) VALUES (@log, @follower, @version, @next)
ON CONFLICT DO NOTHING
RETURNING 1`

// sqlMoveCursor returns no row if the cursor stands elsewhere.
const sqlMoveCursor = `
UPDATE cursors SET version = @version, next = @next
WHERE log_id = @log AND follower = @follower AND version = @from_version AND next = @from_next
RETURNING 1`

const sqlSecret = `
SELECT secret FROM key_secrets WHERE log_id = @log AND kind = @kind`

const sqlAddSecret = `
INSERT INTO key_secrets (log_id, kind, secret) VALUES (@log, @kind, @secret)`

const sqlRuns = `
SELECT kind, start, "end" FROM key_runs
WHERE log_id = @log AND kind = @kind ORDER BY start`

const sqlRunFilter = `
SELECT filter FROM key_runs
WHERE log_id = @log AND kind = @kind AND start = @start AND "end" = @end`

// sqlRemoveRuns removes the runs within a span, the same span included. One that
// only begins in it stays.
const sqlRemoveRuns = `
DELETE FROM key_runs
WHERE log_id = @log AND kind = @kind AND start >= @start AND "end" <= @end`

const sqlDropRuns = `DELETE FROM key_runs WHERE log_id = @log AND kind = @kind`

const sqlAddRun = `
INSERT INTO key_runs (log_id, kind, start, "end", filter)
VALUES (@log, @kind, @start, @end, @filter)`

const sqlAddPage = `
INSERT INTO key_pages (log_id, kind, run_start, first_key, data)
VALUES (@log, @kind, @start, @first, @data)`

// sqlRunPages has a row a key, and none at all if there is no such run. The keys
// come as a JSON array.
const sqlRunPages = `
SELECT p.first_key, p.data
FROM key_runs r
CROSS JOIN json_each(@keys) k
LEFT JOIN key_pages p
  ON p.log_id = r.log_id AND p.kind = r.kind AND p.run_start = r.start
  AND p.first_key = (
    SELECT max(first_key) FROM key_pages
    WHERE log_id = r.log_id AND kind = r.kind AND run_start = r.start AND first_key <= k.value
  )
WHERE r.log_id = @log AND r.kind = @kind AND r.start = @start AND r."end" = @end
ORDER BY k.key`

// sqlAllPages has one row of nulls for a run without pages, and none at all if
// there is no such run.
const sqlAllPages = `
SELECT p.first_key, p.data
FROM key_runs r
LEFT JOIN key_pages p
  ON p.log_id = r.log_id AND p.kind = r.kind AND p.run_start = r.start
WHERE r.log_id = @log AND r.kind = @kind AND r.start = @start AND r."end" = @end
ORDER BY p.first_key`
