-- Rows that no head covers cannot keep a log from being written. Chunks come before
-- their head, so anybody who opens the file can insert one where the next commit's
-- belongs. It is removed when the next epoch begins: no commit is under way then, and
-- none has made it. So chunks that no head covers may be deleted, and they alone.
--
-- Tiles come after their head, from now on, and are refused unless they are full below
-- it. A checkpoint is no smaller than the one before.
--
-- +goose Up

DROP TRIGGER chunks_delete;

-- +goose StatementBegin
CREATE TRIGGER chunks_delete BEFORE DELETE ON chunks
WHEN OLD.start < coalesce((SELECT max(size) FROM heads WHERE log_id = OLD.log_id), 0)
BEGIN
  SELECT RAISE(ABORT, 'chunks is insert-only: DELETE is refused');
END;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE TRIGGER epochs_remove_beyond AFTER INSERT ON epochs
BEGIN
  DELETE FROM chunks
  WHERE log_id = NEW.log_id AND start >= coalesce((SELECT max(size) FROM heads WHERE log_id = NEW.log_id), 0);
END;
-- +goose StatementEnd

DROP TRIGGER tiles_insert;

-- +goose StatementBegin
CREATE TRIGGER tiles_insert BEFORE INSERT ON tiles
BEGIN
  SELECT RAISE(ABORT, 'tiles_key: the tile is there already')
  WHERE EXISTS (SELECT 1 FROM tiles WHERE log_id = NEW.log_id AND level = NEW.level AND "index" = NEW."index");
  SELECT RAISE(ABORT, 'tiles_covered: the tile is not full below the newest head')
  WHERE NEW."index" >= coalesce((SELECT max(size) FROM heads WHERE log_id = NEW.log_id), 0) >> 8 * (NEW.level + 1);
END;
-- +goose StatementEnd

DROP TRIGGER checkpoints_insert;

-- +goose StatementBegin
CREATE TRIGGER checkpoints_insert BEFORE INSERT ON checkpoints
BEGIN
  SELECT RAISE(ABORT, 'checkpoints_next: the number does not follow the last one')
  WHERE NEW.number IS NOT (SELECT coalesce(max(number) + 1, 0) FROM checkpoints WHERE log_id = NEW.log_id);
  SELECT RAISE(ABORT, 'checkpoints_size: no head has that size')
  WHERE NOT EXISTS (SELECT 1 FROM heads WHERE log_id = NEW.log_id AND size = NEW.size);
  SELECT RAISE(ABORT, 'checkpoints_grow: the checkpoint is smaller than the one before')
  WHERE NEW.size < (SELECT size FROM checkpoints WHERE log_id = NEW.log_id AND number = NEW.number - 1);
END;
-- +goose StatementEnd
