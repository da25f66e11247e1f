-- The filters of the index of events have another form. What is there of it goes;
-- it is built anew from the entries.
--
-- +goose Up

DELETE FROM stele.key_runs WHERE kind = 'event';
