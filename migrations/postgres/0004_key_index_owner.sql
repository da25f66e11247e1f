-- The server vacuums the key index when it has merged runs, so that the next ones
-- take the place of those that are gone. Only an owner may. Its rights to the
-- rows stay what they were, but for UPDATE of runs, which the pages' reference to
-- them asks of the runs' owner.
--
-- +goose Up

GRANT CREATE ON SCHEMA stele TO stele_server;
ALTER TABLE stele.key_runs OWNER TO stele_server;
ALTER TABLE stele.key_pages OWNER TO stele_server;
REVOKE CREATE ON SCHEMA stele FROM stele_server;
REVOKE TRUNCATE, REFERENCES, TRIGGER ON stele.key_runs, stele.key_pages FROM stele_server;
REVOKE UPDATE ON stele.key_pages FROM stele_server;
