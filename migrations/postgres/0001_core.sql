-- The core: logs, what their trees cover, and what was signed. Beside it the
-- key index, which is derived.
--
-- The core is insert-only. Rows are refused UPDATE, DELETE and TRUNCATE twice:
-- the role under which the server works, stele_server, has no such right; and
-- triggers refuse everybody else, the tables' owner and superusers included,
-- also on a connection that plays a replica (hence ENABLE ALWAYS). Who owns the
-- tables can still drop the triggers, but cannot do so by mistake; against
-- those who mean it there are the signatures, the witnesses and `stele check`.
--
-- Sizes and indexes are bigint. Rows are found by their primary key alone.
--
-- +goose Up

-- +goose StatementBegin
DO $$
BEGIN
  IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'stele_server') THEN
    BEGIN
      CREATE ROLE stele_server NOLOGIN;
    EXCEPTION
      -- Roles belong to the whole cluster; another database was quicker.
      WHEN duplicate_object OR unique_violation THEN NULL;
    END;
  END IF;
  BEGIN
    SET LOCAL ROLE stele_server;
    RESET ROLE;
  EXCEPTION WHEN insufficient_privilege THEN
    EXECUTE format('GRANT stele_server TO %I', current_user);
  END;
EXCEPTION WHEN insufficient_privilege THEN
  RAISE EXCEPTION 'user "%" may neither create nor take on the role stele_server', current_user
    USING ERRCODE = 'insufficient_privilege',
    HINT = format('As a superuser, run: CREATE ROLE stele_server NOLOGIN (unless it is there); GRANT stele_server TO %I', current_user);
END
$$;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE FUNCTION stele.refuse() RETURNS trigger
LANGUAGE plpgsql SET search_path = '' AS $$
BEGIN
  RAISE EXCEPTION '%.% is insert-only: % is refused', TG_TABLE_SCHEMA, TG_TABLE_NAME, TG_OP
    USING ERRCODE = 'restrict_violation';
END
$$;
-- +goose StatementEnd

-- For each table but those that are derived.
--
-- +goose StatementBegin
CREATE PROCEDURE stele.make_insert_only(target regclass)
LANGUAGE plpgsql SET search_path = '' AS $$
BEGIN
  EXECUTE format('CREATE TRIGGER insert_only BEFORE UPDATE OR DELETE ON %s
    FOR EACH STATEMENT EXECUTE FUNCTION stele.refuse()', target);
  EXECUTE format('CREATE TRIGGER insert_only_truncate BEFORE TRUNCATE ON %s
    FOR EACH STATEMENT EXECUTE FUNCTION stele.refuse()', target);
  EXECUTE format('ALTER TABLE %s ENABLE ALWAYS TRIGGER insert_only', target);
  EXECUTE format('ALTER TABLE %s ENABLE ALWAYS TRIGGER insert_only_truncate', target);
END
$$;
-- +goose StatementEnd

-- The logs. The number is what the other tables, and the advisory locks, know a
-- log by; it means nothing outside the database.
CREATE TABLE stele.logs (
  log_id     int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  name       text NOT NULL UNIQUE CHECK (name <> ''),
  origin     text NOT NULL UNIQUE CHECK (origin <> ''),
  created_at timestamptz NOT NULL DEFAULT now()
);

-- The right to append, in the order it was taken. A sequencer holds it while it
-- holds an advisory lock, which the database drops with the connection; the
-- epoch is for the one that has not noticed yet.
CREATE TABLE stele.epochs (
  log_id   int NOT NULL REFERENCES stele.logs,
  epoch    bigint NOT NULL CHECK (epoch >= 1),
  holder   text NOT NULL,
  begun_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (log_id, epoch)
);

-- One row a commit. Each head but the first names the one it builds on, and
-- each can be built on once: this is the compare-and-swap that orders commits.
-- No lock held by a server, or lost by it, comes into it. There is no reference
-- to the logs: it would be checked with each commit, and say no more than the
-- one to the head before.
CREATE TABLE stele.heads (
  log_id       int NOT NULL,
  size         bigint NOT NULL CHECK (size >= 0),
  base         bigint,
  root         bytea NOT NULL CHECK (length(root) = 32),
  epoch        bigint NOT NULL,
  committed_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (log_id, size),
  CONSTRAINT heads_base_key UNIQUE (log_id, base),
  CONSTRAINT heads_base_fkey FOREIGN KEY (log_id, base) REFERENCES stele.heads (log_id, size),
  CONSTRAINT heads_first CHECK ((base IS NULL) = (size = 0)),
  CONSTRAINT heads_grow CHECK (size > base),
  CONSTRAINT heads_led CHECK ((epoch = 0) = (size = 0))
);

-- Runs of consecutive entries, compressed by the server: up to an entry
-- bundle's worth in a row, as a row an entry would cost many times as much.
-- There is no reference to the logs: a chunk counts only once a head covers it.
CREATE TABLE stele.chunks (
  log_id int NOT NULL,
  start  bigint NOT NULL CHECK (start >= 0),
  count  smallint NOT NULL,
  data   bytea NOT NULL,
  PRIMARY KEY (log_id, start),
  CONSTRAINT chunks_in_one_bundle CHECK (count >= 1 AND start % 256 + count <= 256)
);

-- Full tiles, with their own hash: the next level is made of these.
CREATE TABLE stele.tiles (
  log_id int NOT NULL,
  level  smallint NOT NULL CHECK (level BETWEEN 0 AND 7),
  index  bigint NOT NULL CHECK (index >= 0),
  root   bytea NOT NULL CHECK (length(root) = 32),
  data   bytea NOT NULL CHECK (length(data) = 8192),
  PRIMARY KEY (log_id, level, index)
);

-- Every signed note ever published. The numbers have no gaps, as each refers to
-- the one before it, and none is of a size that was not committed.
CREATE TABLE stele.checkpoints (
  log_id       int NOT NULL,
  number       bigint NOT NULL CHECK (number >= 0),
  previous     bigint GENERATED ALWAYS AS (CASE WHEN number > 0 THEN number - 1 END) STORED,
  size         bigint NOT NULL,
  note         bytea NOT NULL,
  published_at timestamptz NOT NULL,
  PRIMARY KEY (log_id, number),
  CONSTRAINT checkpoints_previous_fkey FOREIGN KEY (log_id, previous) REFERENCES stele.checkpoints (log_id, number),
  CONSTRAINT checkpoints_size_fkey FOREIGN KEY (log_id, size) REFERENCES stele.heads (log_id, size)
);

-- The key index: sorted runs, in pages. It is derived, so runs are deleted when
-- a larger one takes their place. Keys are 64 bits without a sign; as bigint
-- they have their top bit flipped, which keeps their order.
CREATE TABLE stele.key_runs (
  log_id int NOT NULL REFERENCES stele.logs,
  kind   text NOT NULL,
  start  bigint NOT NULL CHECK (start >= 0),
  "end"  bigint NOT NULL,
  filter bytea NOT NULL,
  PRIMARY KEY (log_id, kind, start),
  CHECK ("end" > start)
);

CREATE TABLE stele.key_pages (
  log_id    int NOT NULL,
  kind      text NOT NULL,
  run_start bigint NOT NULL,
  first_key bigint NOT NULL,
  data      bytea NOT NULL,
  PRIMARY KEY (log_id, kind, run_start, first_key),
  FOREIGN KEY (log_id, kind, run_start) REFERENCES stele.key_runs ON DELETE CASCADE
);

-- What is compressed, or cannot be, is not worth PostgreSQL's trying.
ALTER TABLE stele.chunks ALTER data SET STORAGE EXTERNAL;
ALTER TABLE stele.tiles ALTER data SET STORAGE EXTERNAL;
ALTER TABLE stele.key_runs ALTER filter SET STORAGE EXTERNAL;
ALTER TABLE stele.key_pages ALTER data SET STORAGE EXTERNAL;

-- A commit of any but the newest epoch is refused. Commits share a lock that
-- the beginning of an epoch has to itself, each to the end of its transaction:
-- once a new epoch has begun there is no commit of an old one left to come.
--
-- So is one on any but the newest head, at once and whatever else is wrong with
-- it. Of commits that race past this, all but one fail heads_base_key.
--
-- +goose StatementBegin
CREATE FUNCTION stele.check_newest() RETURNS trigger
LANGUAGE plpgsql AS $$
DECLARE
  newest_epoch bigint;
  newest_size bigint;
BEGIN
  PERFORM pg_advisory_xact_lock_shared(1398033478, NEW.log_id);
  SELECT
    (SELECT coalesce(max(epoch), 0) FROM stele.epochs WHERE log_id = NEW.log_id),
    (SELECT max(size) FROM stele.heads WHERE log_id = NEW.log_id)
  INTO newest_epoch, newest_size;
  IF NEW.epoch <> newest_epoch THEN
    RAISE EXCEPTION 'log % is in epoch %, not %', NEW.log_id, newest_epoch, NEW.epoch
      USING ERRCODE = 'check_violation', CONSTRAINT = 'heads_epoch_newest';
  END IF;
  IF NEW.base IS DISTINCT FROM newest_size THEN
    RAISE EXCEPTION 'log % has size %, not %', NEW.log_id, newest_size, NEW.base
      USING ERRCODE = 'check_violation', CONSTRAINT = 'heads_base_newest';
  END IF;
  RETURN NEW;
END
$$;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE FUNCTION stele.fence() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
  PERFORM pg_advisory_xact_lock(1398033478, NEW.log_id);
  RETURN NEW;
END
$$;
-- +goose StatementEnd

-- The chunks of a commit cover exactly what it adds: the first starts at the
-- head's base, each where the one before ends, the last ends at its size.
--
-- +goose StatementBegin
CREATE FUNCTION stele.check_cover() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
  IF NEW.size IS DISTINCT FROM (
    SELECT CASE WHEN bool_and(c.start = c.due) THEN max(c.stop) END
    FROM (
      SELECT start, start + count AS stop, lag(start + count, 1, NEW.base) OVER (ORDER BY start) AS due
      FROM stele.chunks
      WHERE log_id = NEW.log_id AND start >= NEW.base AND start < NEW.size
    ) c
  ) THEN
    RAISE EXCEPTION 'the chunks do not cover the entries from % to %', NEW.base, NEW.size
      USING ERRCODE = 'check_violation', CONSTRAINT = 'heads_no_gaps';
  END IF;
  RETURN NULL;
END
$$;
-- +goose StatementEnd

CREATE TRIGGER check_newest BEFORE INSERT ON stele.heads
  FOR EACH ROW EXECUTE FUNCTION stele.check_newest();
CREATE TRIGGER check_cover AFTER INSERT ON stele.heads
  FOR EACH ROW WHEN (NEW.size > 0) EXECUTE FUNCTION stele.check_cover();
CREATE TRIGGER fence BEFORE INSERT ON stele.epochs
  FOR EACH ROW EXECUTE FUNCTION stele.fence();
ALTER TABLE stele.heads ENABLE ALWAYS TRIGGER check_newest;
ALTER TABLE stele.heads ENABLE ALWAYS TRIGGER check_cover;
ALTER TABLE stele.epochs ENABLE ALWAYS TRIGGER fence;

CALL stele.make_insert_only('stele.migrations');
CALL stele.make_insert_only('stele.logs');
CALL stele.make_insert_only('stele.epochs');
CALL stele.make_insert_only('stele.heads');
CALL stele.make_insert_only('stele.chunks');
CALL stele.make_insert_only('stele.tiles');
CALL stele.make_insert_only('stele.checkpoints');

GRANT USAGE ON SCHEMA stele TO stele_server;
GRANT SELECT ON stele.migrations TO stele_server;
GRANT SELECT, INSERT ON stele.logs, stele.epochs, stele.heads, stele.chunks, stele.tiles, stele.checkpoints TO stele_server;
GRANT SELECT, INSERT, DELETE ON stele.key_runs, stele.key_pages TO stele_server;
