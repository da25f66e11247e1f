-- Each head carries a MAC of the server that has committed it, over what the log is,
-- the head that it builds on, its size and its root. The key is in the server's data
-- folder, never here: so whoever owns these tables can add well-formed chunks, tiles and
-- a head, but no head that a server would build on, or sign.
--
-- Heads from before this have none, and are not checked again. A server of an older
-- program, which would commit without, is refused from now on.
--
-- +goose Up

ALTER TABLE stele.heads ADD COLUMN mac bytea;
ALTER TABLE stele.heads ADD CONSTRAINT heads_mac
  CHECK (size = 0 OR (mac IS NOT NULL AND length(mac) = 32)) NOT VALID;
