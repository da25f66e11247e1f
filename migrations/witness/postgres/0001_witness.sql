-- What a witness must not forget: for each log the newest checkpoint that it has
-- signed, in one row, which is replaced. The row is the lock as well: a request
-- updates it where size and root are those that its proof was checked against,
-- and whoever finds another row there was too late.
--
-- Triggers refuse, also to the operator, what would let the witness sign two
-- histories: a size that falls, another root at the same size, a row deleted.
-- Who owns the tables can still drop the triggers, but cannot do so by mistake.
--
-- owner is the witness's Ed25519 verifier key. A database belongs to one witness:
-- another's history is none of its business, and a witness that is given a new
-- database has forgotten its own.
--
-- Times are microseconds since 1970, UTC; day counts days from there. note is the
-- signed checkpoint, null before the first. used are the checkpoints by which the
-- log grew that were signed on that day, at most qpd unless qpd is 0.
--
-- +goose Up

CREATE TABLE stele_witness.owner (
  id   integer PRIMARY KEY CHECK (id = 1),
  vkey text NOT NULL CHECK (vkey <> '')
);

CREATE TABLE stele_witness.logs (
  origin      text COLLATE "C" PRIMARY KEY CHECK (origin <> ''),
  origin_hash text COLLATE "C" NOT NULL UNIQUE CHECK (length(origin_hash) = 64),
  size        bigint NOT NULL CHECK (size >= 0),
  root        bytea NOT NULL CHECK (length(root) = 32),
  note        bytea,
  signed_at   bigint,
  paused      boolean NOT NULL DEFAULT false,
  listed      boolean NOT NULL,
  qpd         bigint NOT NULL CHECK (qpd >= 0),
  day         bigint NOT NULL DEFAULT 0,
  used        bigint NOT NULL DEFAULT 0 CHECK (used >= 0),
  CHECK ((note IS NULL) = (signed_at IS NULL)),
  CHECK (note IS NOT NULL OR size = 0)
);

CREATE TABLE stele_witness.keys (
  key_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  origin text COLLATE "C" NOT NULL REFERENCES stele_witness.logs,
  vkey   text COLLATE "C" NOT NULL CHECK (vkey <> ''),
  UNIQUE (origin, vkey)
);

-- +goose StatementBegin
CREATE FUNCTION stele_witness.refuse() RETURNS trigger
LANGUAGE plpgsql SET search_path = '' AS $$
BEGIN
  RAISE EXCEPTION 'a witness does not go back on what it has signed: % of %.% is refused',
    TG_OP, TG_TABLE_SCHEMA, TG_TABLE_NAME
    USING ERRCODE = 'restrict_violation', HINT = 'To sign no more for a log, pause it.';
END
$$;
-- +goose StatementEnd

CREATE TRIGGER logs_only_grow BEFORE UPDATE ON stele_witness.logs FOR EACH ROW
  WHEN (NEW.origin <> OLD.origin OR NEW.origin_hash <> OLD.origin_hash OR NEW.size < OLD.size
    OR NEW.size = OLD.size AND NEW.root <> OLD.root)
  EXECUTE FUNCTION stele_witness.refuse();
CREATE TRIGGER logs_stay BEFORE DELETE ON stele_witness.logs
  FOR EACH STATEMENT EXECUTE FUNCTION stele_witness.refuse();
CREATE TRIGGER logs_stay_truncate BEFORE TRUNCATE ON stele_witness.logs
  FOR EACH STATEMENT EXECUTE FUNCTION stele_witness.refuse();
CREATE TRIGGER owner_stays BEFORE UPDATE OR DELETE OR TRUNCATE ON stele_witness.owner
  FOR EACH STATEMENT EXECUTE FUNCTION stele_witness.refuse();

ALTER TABLE stele_witness.logs ENABLE ALWAYS TRIGGER logs_only_grow;
ALTER TABLE stele_witness.logs ENABLE ALWAYS TRIGGER logs_stay;
ALTER TABLE stele_witness.logs ENABLE ALWAYS TRIGGER logs_stay_truncate;
ALTER TABLE stele_witness.owner ENABLE ALWAYS TRIGGER owner_stays;
