-- Each head carries a MAC of the server that has committed it, over what the log is,
-- the head that it builds on, its size and its root. The key is in the server's data
-- folder, never here: so whoever can write to this file can add well-formed chunks, tiles
-- and a head, but no head that a server would build on, or sign.
--
-- Heads from before this have none, and are not checked again. A server of an older
-- program, which would commit without, is refused from now on.
--
-- +goose Up

ALTER TABLE heads ADD COLUMN mac BLOB;

-- +goose StatementBegin
CREATE TRIGGER heads_mac BEFORE INSERT ON heads
WHEN NEW.size > 0 AND (NEW.mac IS NULL OR length(NEW.mac) <> 32)
BEGIN
  SELECT RAISE(ABORT, 'heads_mac: the head has no MAC of the server that commits it');
END;
-- +goose StatementEnd
