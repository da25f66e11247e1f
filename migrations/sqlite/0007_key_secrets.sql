-- A secret of each log goes into the keys of its index of events. A key has 40 bits
-- of a hash: without a secret, anybody could compute events with one key in advance,
-- for all logs, and have each of them compared with all the others.
--
-- The server makes a secret when it first needs one, and removes the runs that were
-- made without it: the index of events is built again from the entries, once. Of runs
-- made with another secret nothing would be found, so it is never changed. Runs of the
-- old kind are of no use any more.
--
-- +goose Up

CREATE TABLE key_secrets (
  log_id INTEGER NOT NULL REFERENCES logs,
  kind   TEXT NOT NULL,
  secret BLOB NOT NULL CHECK (length(secret) = 16),
  PRIMARY KEY (log_id, kind)
) STRICT, WITHOUT ROWID;

-- +goose StatementBegin
CREATE TRIGGER key_secrets_insert BEFORE INSERT ON key_secrets
BEGIN
  SELECT RAISE(ABORT, 'key_secrets_key: the secret is there already')
  WHERE EXISTS (SELECT 1 FROM key_secrets WHERE log_id = NEW.log_id AND kind = NEW.kind);
END;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE TRIGGER key_secrets_update BEFORE UPDATE ON key_secrets
BEGIN
  SELECT RAISE(ABORT, 'key_secrets is insert-only: UPDATE is refused');
END;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE TRIGGER key_secrets_delete BEFORE DELETE ON key_secrets
BEGIN
  SELECT RAISE(ABORT, 'key_secrets is insert-only: DELETE is refused');
END;
-- +goose StatementEnd

DELETE FROM key_runs WHERE kind = 'event';
