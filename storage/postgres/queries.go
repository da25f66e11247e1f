package postgres

// Every statement the driver runs, by what it is for, but for the COPY of pages in
// runs.go. All names are qualified; the connections have no search path. pgx rewrites
// the @names to $1, $2 and so on before a statement is prepared.

// sqlSession sets a connection up to serve, unless there is a pooler between. Statements are planned once for each
// connection, which costs more than running them; and as a plan made while a
// table was small must not read all of it once it is large, none reads a table
// without an index: every query below has its own. Nor is any compiled: those of
// a range are taken for long ones, and compiling takes longer than they do.
//
// The last statement is SET ROLE to the database's role for servers, which owns the key
// indexes: its name is the database's to know. Without a schema there is none.
const sqlSession = `
SET search_path TO '';
SET default_transaction_isolation TO 'read committed';
SET enable_seqscan TO off;
SET plan_cache_mode TO force_generic_plan;
SET jit TO off;
SELECT set_config('role', r.rolname, false)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_roles r ON r.oid = c.relowner
WHERE n.nspname = 'stele' AND c.relname = 'key_pages'`

// sqlRole returns the database's role, as sqlSession finds it, and the user, both as
// they are written in SQL.
const sqlRole = `
SELECT quote_ident(r.rolname), quote_ident(session_user)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_roles r ON r.oid = c.relowner
WHERE n.nspname = 'stele' AND c.relname = 'key_pages'`

// sqlProcess and sqlPooled are asked when the database is opened.
const sqlProcess = `SELECT pg_catalog.pg_backend_pid()`

const sqlPooled = `
SELECT pg_catalog.has_table_privilege('stele.heads', 'INSERT'), current_setting('default_transaction_isolation')`

const sqlVersion = `SELECT max(version_id) FROM stele.migrations`

// sqlDurable stands in the FROM of statements that must be durable once they return,
// whatever the session was set to, or the server by default: their transaction waits
// for the disk, and for a synchronous standby if there is one, and a WARNING about that
// reaches the driver.
const sqlDurable = `
  pg_catalog.set_config('synchronous_commit', 'on', true) AS durable,
  pg_catalog.set_config('client_min_messages', 'warning', true) AS warned`

// sqlIdentity does without the cluster's number where a host does not let users read it.
// A standby has no timeline of its own yet.
const sqlIdentity = `
SELECT format('postgres/%s/%s/%s/%s',
  CASE WHEN has_function_privilege('pg_control_system()', 'EXECUTE')
    THEN (SELECT system_identifier FROM pg_control_system()) END,
  (SELECT oid FROM pg_database WHERE datname = current_database()),
  'stele.heads'::regclass::oid,
  CASE WHEN NOT pg_is_in_recovery() THEN left(pg_walfile_name(pg_current_wal_lsn()), 8) END)`

// sqlCreateLog gives the log its head of size 0, which has no base and epoch 0.
const sqlCreateLog = `
WITH l AS (
  INSERT INTO stele.logs (name, origin)
  SELECT @name, @origin FROM` + sqlDurable + `
  RETURNING log_id, name, origin, created_at
), h AS (
  INSERT INTO stele.heads (log_id, size, root, epoch)
  SELECT log_id, 0, @root, 0 FROM l
)
SELECT log_id, name, origin, created_at FROM l`

const sqlOpenLog = `
SELECT log_id, name, origin, created_at FROM stele.logs WHERE name = @name`

// sqlLogs sorts by bytes, as SQLite does, whatever the database's collation is.
const sqlLogs = `
SELECT name, origin, created_at FROM stele.logs ORDER BY name COLLATE "C"`

// sqlHolder has a row if another server's lease on the log is alive.
const sqlHolder = `
SELECT holder, expires_at FROM stele.leases
WHERE log_id = @log AND server <> @server AND expires_at > clock_timestamp()`

// sqlLeaseEnd is when a lease that is taken or renewed now expires.
const sqlLeaseEnd = `clock_timestamp() + interval '5 seconds'`

// sqlLead takes the lease on a log, unless it is another server's and alive, and begins
// the next epoch. It has no row then. Of servers that race, one waits for the other's
// row and looks again, or the primary key of the epochs refuses it.
const sqlLead = `
WITH next AS (
  SELECT coalesce(max(epoch), 0) + 1 AS epoch FROM stele.epochs WHERE log_id = @log
), taken AS (
  INSERT INTO stele.leases AS l (log_id, epoch, server, holder, expires_at)
  SELECT @log, epoch, @server, @holder, ` + sqlLeaseEnd + ` FROM next
  ON CONFLICT (log_id) DO UPDATE
  SET epoch = excluded.epoch, server = excluded.server, holder = excluded.holder, expires_at = excluded.expires_at
  WHERE l.server = excluded.server OR l.expires_at <= clock_timestamp()
  RETURNING epoch
)
INSERT INTO stele.epochs (log_id, epoch, holder)
SELECT @log, epoch, @holder FROM taken,` + sqlDurable + `
RETURNING epoch`

// sqlRenew renews leases, and returns the logs of those that are still their holder's:
// an epoch has one holder. It waits for no row, as one that another is about to take may
// be locked for as long as a commit hangs, and for no disk, as a lease that is lost in a
// crash only expires a little sooner.
const sqlRenew = `
WITH held AS (
  SELECT * FROM unnest(@logs::int[], @epochs::bigint[]) AS h (log_id, epoch)
), free AS (
  SELECT log_id FROM stele.leases l JOIN held USING (log_id, epoch) FOR UPDATE OF l SKIP LOCKED
), renewed AS (
  UPDATE stele.leases l SET expires_at = ` + sqlLeaseEnd + `
  FROM free, pg_catalog.set_config('synchronous_commit', 'off', true)
  WHERE l.log_id = free.log_id
)
SELECT coalesce(array_agg(log_id), '{}') FROM stele.leases JOIN held USING (log_id, epoch)`

// sqlRelease lets a lease expire now. It has no epoch then, so that a renewal under way,
// which may come after it, leaves it alone.
const sqlRelease = `
UPDATE stele.leases SET expires_at = '-infinity', epoch = 0
FROM pg_catalog.set_config('synchronous_commit', 'off', true)
WHERE log_id = @log AND epoch = @epoch`

// sqlHead and sqlHeads give the head of size 0, which has no base, the base 0.
const sqlHead = `
SELECT size, root, coalesce(base, 0), epoch, mac FROM stele.heads
WHERE log_id = @log ORDER BY size DESC LIMIT 1`

const sqlHeads = `
SELECT size, root, coalesce(base, 0), epoch, mac FROM stele.heads
WHERE log_id = @log AND size >= @first ORDER BY size LIMIT @limit`

// sqlCommit is one statement, so one transaction in one round trip. The head
// goes in first: one that is stale is refused before anything is written. The
// arrays of chunks and of tiles are unnested in step, a row at a time.
const sqlCommit = `
WITH c AS (
  INSERT INTO stele.chunks (log_id, start, count, data)
  SELECT @log, unnest(@starts::bigint[]), unnest(@counts::smallint[]), unnest(@chunks::bytea[])
), t AS (
  INSERT INTO stele.tiles (log_id, level, index, root, data)
  SELECT @log, unnest(@levels::smallint[]), unnest(@indexes::bigint[]), unnest(@roots::bytea[]), unnest(@tiles::bytea[])
)
INSERT INTO stele.heads (log_id, size, base, root, epoch, mac)
SELECT @log, @size, @base, @root, @epoch, @mac FROM` + sqlDurable

// The statements that read chunks and tiles stop at the newest head: what lies beyond it
// was made by no commit. A shift by 64 would be one by 0; no tile of level 7 is full.

// sqlChunks looks for starts from the beginning of the first bundle on: a chunk does
// not straddle bundles, so none that starts before can reach into the range. That
// gives the index a lower bound.
const sqlChunks = `
SELECT start, count, data FROM stele.chunks
WHERE log_id = @log AND start >= @start::bigint / 256 * 256 AND start < @end AND start + count > @start AND @start < @end
  AND start + count <= (SELECT max(size) FROM stele.heads WHERE log_id = @log)
ORDER BY start`

// sqlChunksOf reads bundle by bundle, as each is a range of the primary key. The limit,
// which no bundle reaches, keeps the database from joining the other way round: it would
// read all chunks of the log, and compare each with the bundles.
const sqlChunksOf = `
SELECT c.start, c.count, c.data
FROM unnest(@bundles::bigint[]) b (bundle)
CROSS JOIN LATERAL (
  SELECT start, count, data FROM stele.chunks
  WHERE log_id = @log AND start >= b.bundle * 256 AND start < b.bundle * 256 + 256
  LIMIT 256
) c`

const sqlTile = `
SELECT data FROM stele.tiles WHERE log_id = @log AND level = @level AND index = @index
  AND index < (SELECT max(size) FROM stele.heads WHERE log_id = @log) >> least(8 * (@level + 1), 63)`

const sqlTiles = `
SELECT index, data FROM stele.tiles
WHERE log_id = @log AND level = @level AND index >= @start AND index < @end
  AND index < (SELECT max(size) FROM stele.heads WHERE log_id = @log) >> least(8 * (@level + 1), 63)
ORDER BY index`

// sqlTileRoots reads 32 bytes a tile, not the tile's own 8192.
const sqlTileRoots = `
SELECT root FROM stele.tiles
WHERE log_id = @log AND level = @level AND index >= @start AND index < @end
  AND index < (SELECT max(size) FROM stele.heads WHERE log_id = @log) >> least(8 * (@level + 1), 63)
ORDER BY index`

const sqlAddCheckpoint = `
INSERT INTO stele.checkpoints (log_id, number, size, note, published_at)
SELECT @log, @number, @size, @note, @published FROM` + sqlDurable

const sqlLastCheckpoint = `
SELECT number, size, note, published_at FROM stele.checkpoints
WHERE log_id = @log ORDER BY number DESC LIMIT 1`

const sqlCheckpoints = `
SELECT number, size, note, published_at FROM stele.checkpoints
WHERE log_id = @log AND number >= @first ORDER BY number LIMIT @limit`

const sqlCursor = `
SELECT version, next FROM stele.cursors WHERE log_id = @log AND follower = @follower`

// sqlAddCursor inserts no row if there is one: another server made the first move.
const sqlAddCursor = `
INSERT INTO stele.cursors (log_id, follower, version, next) VALUES (@log, @follower, @version, @next)
ON CONFLICT DO NOTHING`

// sqlMoveCursor updates no row if the cursor stands elsewhere.
const sqlMoveCursor = `
UPDATE stele.cursors SET version = @version, next = @next
WHERE log_id = @log AND follower = @follower AND version = @from_version AND next = @from_next`

const sqlSecret = `
SELECT secret FROM stele.key_secrets WHERE log_id = @log AND kind = @kind`

// sqlAddSecret inserts no row if there is one: another server was quicker, and is
// waited for.
const sqlAddSecret = `
INSERT INTO stele.key_secrets (log_id, kind, secret) VALUES (@log, @kind, @secret)
ON CONFLICT DO NOTHING`

const sqlRuns = `
SELECT kind, start, "end" FROM stele.key_runs
WHERE log_id = @log AND kind = @kind ORDER BY start`

const sqlRunFilter = `
SELECT filter FROM stele.key_runs
WHERE log_id = @log AND kind = @kind AND start = @start AND "end" = @end`

// sqlRemoveRuns removes the runs within a span, the same span included. One that
// only begins in it stays.
const sqlRemoveRuns = `
DELETE FROM stele.key_runs
WHERE log_id = @log AND kind = @kind AND start >= @start AND "end" <= @end`

// sqlVacuumRuns makes room of what was removed. PostgreSQL would in a minute or
// so, in which a busy log has written as much again.
const sqlVacuumRuns = `VACUUM stele.key_runs, stele.key_pages`

const sqlDropRuns = `DELETE FROM stele.key_runs WHERE log_id = @log AND kind = @kind`

const sqlAddRun = `
INSERT INTO stele.key_runs (log_id, kind, start, "end", filter)
VALUES (@log, @kind, @start, @end, @filter)`

// sqlRunPages has a row a key, and none at all if there is no such run.
const sqlRunPages = `
SELECT p.first_key, p.data
FROM stele.key_runs r
CROSS JOIN unnest(@keys::bigint[]) WITH ORDINALITY k (key, n)
LEFT JOIN LATERAL (
  SELECT first_key, data FROM stele.key_pages
  WHERE log_id = r.log_id AND kind = r.kind AND run_start = r.start AND first_key <= k.key
  ORDER BY first_key DESC LIMIT 1
) p ON true
WHERE r.log_id = @log AND r.kind = @kind AND r.start = @start AND r."end" = @end
ORDER BY k.n`

// sqlAllPages has one row of nulls for a run without pages, and none at all if
// there is no such run.
const sqlAllPages = `
SELECT p.first_key, p.data
FROM stele.key_runs r
LEFT JOIN stele.key_pages p
  ON p.log_id = r.log_id AND p.kind = r.kind AND p.run_start = r.start
WHERE r.log_id = @log AND r.kind = @kind AND r.start = @start AND r."end" = @end
ORDER BY p.first_key`
