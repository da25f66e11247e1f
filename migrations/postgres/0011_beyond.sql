-- Rows that no head covers cannot be left behind, nor can what would keep a log from
-- being written. The server's role may insert, and nobody may delete: a chunk where the
-- next commit's belongs, or an epoch after which there is no other, would otherwise end
-- a log for ever.
--
-- At the end of its transaction, and no earlier, since the rows of a commit may come in
-- any order, a chunk must lie below the newest head and begin where the one before has
-- ended; a tile must be full below the newest head. As nothing below a head is free,
-- only a commit can insert them.
--
-- What was there before, or came while the guards were off, is removed when the next
-- epoch begins: no commit is under way then, and none has made it. This is the one
-- deletion from the core, of what is not part of any log.
--
-- No function depends on the search path of whoever inserts.
--
-- +goose Up

-- +goose StatementBegin
CREATE FUNCTION stele.check_chunk() RETURNS trigger
LANGUAGE plpgsql SET search_path = '' AS $$
BEGIN
  IF NEW.start + NEW.count <= (SELECT max(size) FROM stele.heads WHERE log_id = NEW.log_id)
    AND NEW.start >= coalesce((
      SELECT start + count FROM stele.chunks
      WHERE log_id = NEW.log_id AND start < NEW.start ORDER BY start DESC LIMIT 1), 0)
  THEN
    RETURN NULL;
  END IF;
  RAISE EXCEPTION 'no commit has made the chunk at entry % of log %', NEW.start, NEW.log_id
    USING ERRCODE = 'check_violation', CONSTRAINT = 'chunks_covered';
END
$$;
-- +goose StatementEnd

-- No log is large enough for a full tile of level 7.
--
-- +goose StatementBegin
CREATE FUNCTION stele.check_tile() RETURNS trigger
LANGUAGE plpgsql SET search_path = '' AS $$
BEGIN
  IF NEW.level < 7 AND NEW.index <
    (SELECT max(size) FROM stele.heads WHERE log_id = NEW.log_id) >> (8 * (NEW.level + 1))
  THEN
    RETURN NULL;
  END IF;
  RAISE EXCEPTION 'no commit has made the tile % of level % of log %', NEW.index, NEW.level, NEW.log_id
    USING ERRCODE = 'check_violation', CONSTRAINT = 'tiles_covered';
END
$$;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE FUNCTION stele.check_epoch() RETURNS trigger
LANGUAGE plpgsql SET search_path = '' AS $$
BEGIN
  IF NEW.epoch IS DISTINCT FROM
    (SELECT coalesce(max(epoch), 0) + 1 FROM stele.epochs WHERE log_id = NEW.log_id)
  THEN
    RAISE EXCEPTION 'epoch % of log % does not follow its newest', NEW.epoch, NEW.log_id
      USING ERRCODE = 'check_violation', CONSTRAINT = 'epochs_next';
  END IF;
  RETURN NEW;
END
$$;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE FUNCTION stele.check_checkpoint() RETURNS trigger
LANGUAGE plpgsql SET search_path = '' AS $$
BEGIN
  IF NEW.size < (SELECT size FROM stele.checkpoints WHERE log_id = NEW.log_id AND number = NEW.number - 1) THEN
    RAISE EXCEPTION 'checkpoint % of log % is smaller than the one before', NEW.number, NEW.log_id
      USING ERRCODE = 'check_violation', CONSTRAINT = 'checkpoints_grow';
  END IF;
  RETURN NULL;
END
$$;
-- +goose StatementEnd

-- It runs as the tables' owner, who alone can suspend their triggers. Other sessions do
-- not see them suspended.
--
-- +goose StatementBegin
CREATE FUNCTION stele.remove_beyond() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
DECLARE
  head CONSTANT bigint := coalesce((SELECT max(size) FROM stele.heads WHERE log_id = NEW.log_id), 0);
BEGIN
  IF EXISTS (
    SELECT FROM stele.chunks
    WHERE log_id = NEW.log_id AND start >= head / 256 * 256 AND start + count > head)
  THEN
    ALTER TABLE stele.chunks DISABLE TRIGGER insert_only;
    DELETE FROM stele.chunks
    WHERE log_id = NEW.log_id AND start >= head / 256 * 256 AND start + count > head;
    ALTER TABLE stele.chunks ENABLE ALWAYS TRIGGER insert_only;
  END IF;
  IF EXISTS (
    SELECT FROM generate_series(0, 7) AS level CROSS JOIN LATERAL (
      SELECT FROM stele.tiles t
      WHERE t.log_id = NEW.log_id AND t.level = level.level
        AND t.index >= head >> least(8 * (level.level + 1), 63) LIMIT 1) beyond)
  THEN
    ALTER TABLE stele.tiles DISABLE TRIGGER insert_only;
    DELETE FROM stele.tiles
    WHERE log_id = NEW.log_id AND index >= head >> least(8 * (level + 1), 63);
    ALTER TABLE stele.tiles ENABLE ALWAYS TRIGGER insert_only;
  END IF;
  RETURN NULL;
END
$$;
-- +goose StatementEnd

CREATE CONSTRAINT TRIGGER check_chunk AFTER INSERT ON stele.chunks
  DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION stele.check_chunk();
CREATE CONSTRAINT TRIGGER check_tile AFTER INSERT ON stele.tiles
  DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION stele.check_tile();
-- After fence, by name: then no other epoch can begin.
CREATE TRIGGER next_epoch BEFORE INSERT ON stele.epochs
  FOR EACH ROW EXECUTE FUNCTION stele.check_epoch();
CREATE TRIGGER remove_beyond AFTER INSERT ON stele.epochs
  FOR EACH ROW EXECUTE FUNCTION stele.remove_beyond();
-- After the triggers of the foreign keys, by name.
CREATE TRIGGER check_checkpoint AFTER INSERT ON stele.checkpoints
  FOR EACH ROW EXECUTE FUNCTION stele.check_checkpoint();

ALTER TABLE stele.chunks ENABLE ALWAYS TRIGGER check_chunk;
ALTER TABLE stele.tiles ENABLE ALWAYS TRIGGER check_tile;
ALTER TABLE stele.epochs ENABLE ALWAYS TRIGGER next_epoch;
ALTER TABLE stele.epochs ENABLE ALWAYS TRIGGER remove_beyond;
ALTER TABLE stele.checkpoints ENABLE ALWAYS TRIGGER check_checkpoint;

ALTER FUNCTION stele.check_newest() SET search_path = '';
ALTER FUNCTION stele.fence() SET search_path = '';
ALTER FUNCTION stele.check_cover() SET search_path = '';
