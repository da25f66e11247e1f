-- Who may append to each log, and until when. A lease is a row. Its holder renews it
-- every second, all its leases by one statement, and it expires by the clock of the
-- database. So a lease does not depend on a session: it neither ends with a connection
-- nor outlives a process that hangs, it takes no connection of its own, and a pooler
-- that lends a session for one transaction at a time may stand between.
--
-- A lease keeps others from trying. It is the epoch, begun in the transaction that takes
-- a lease, that decides whose commits count: a holder that has not heard that its lease
-- was taken is refused. Leases are therefore no part of the truth, and are updated.
--
-- The triggers that compare with the newest epoch and head look after they have waited
-- for a lock. What was committed meanwhile they see only in READ COMMITTED, so they
-- refuse any other isolation, which a session might have for its default.
--
-- +goose Up

-- The table is small, and each of its rows changes every second: with room in each page
-- the new row stands beside the old one, and no index changes.
CREATE TABLE stele.leases (
  log_id     int PRIMARY KEY REFERENCES stele.logs,
  epoch      bigint NOT NULL, -- that it was taken with; 0 once it is released
  server     text NOT NULL, -- a name that each process makes up for itself
  holder     text NOT NULL, -- the URL that others reach it by
  expires_at timestamptz NOT NULL
) WITH (fillfactor = 50);

GRANT SELECT, INSERT, UPDATE ON stele.leases TO stele_server;

-- +goose StatementBegin
CREATE FUNCTION stele.check_isolation() RETURNS void
LANGUAGE plpgsql SET search_path = '' AS $$
BEGIN
  IF current_setting('transaction_isolation') <> 'read committed' THEN
    RAISE EXCEPTION 'the isolation must be read committed, not %', current_setting('transaction_isolation')
      USING ERRCODE = 'restrict_violation';
  END IF;
END
$$;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE OR REPLACE FUNCTION stele.check_newest() RETURNS trigger
LANGUAGE plpgsql AS $$
DECLARE
  newest_epoch bigint;
  newest_size bigint;
BEGIN
  PERFORM stele.check_isolation();
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
CREATE OR REPLACE FUNCTION stele.fence() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
  PERFORM stele.check_isolation();
  PERFORM pg_advisory_xact_lock(1398033478, NEW.log_id);
  RETURN NEW;
END
$$;
-- +goose StatementEnd
