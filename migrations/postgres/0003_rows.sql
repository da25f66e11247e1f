-- A chunk that fits into a page stays in its row: out of it, each 2 kB would be
-- a row of their own to be written and looked up.
--
-- +goose Up

ALTER TABLE stele.chunks SET (toast_tuple_target = 8160);
