-- The key index has shorter keys and pages of another form. What is there of it
-- goes; it is built anew from the entries.
--
-- +goose Up

DELETE FROM key_pages;
DELETE FROM key_runs;
