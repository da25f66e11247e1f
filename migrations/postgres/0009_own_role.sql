-- The server's role is the database's own. Roles belong to the whole cluster, so whoever
-- was granted a role that all databases share could read and write every one of them.
--
-- Here as in every file, stele_server stands for the role of this database. If another
-- role has its tables and rights, that one is shared: they go over to the database's own.
-- Who served as a member of the shared role needs to be granted this one.
--
-- +goose Up

-- +goose StatementBegin
DO $$
DECLARE
  shared name;
  held record;
BEGIN
  SELECT r.rolname INTO STRICT shared FROM pg_class c JOIN pg_roles r ON r.oid = c.relowner
  WHERE c.oid = 'stele.key_pages'::regclass;
  IF shared = 'stele_server' THEN
    RETURN;
  END IF;
  GRANT USAGE, CREATE ON SCHEMA stele TO stele_server; -- to own tables takes both
  FOR held IN
    SELECT c.oid::regclass AS relation FROM pg_class c
    WHERE c.relnamespace = 'stele'::regnamespace AND c.relkind = 'r' AND c.relowner = quote_ident(shared)::regrole
  LOOP
    EXECUTE format('ALTER TABLE %s OWNER TO stele_server', held.relation);
  END LOOP;
  FOR held IN
    SELECT c.oid::regclass AS relation, a.privilege_type AS privilege
    FROM pg_class c CROSS JOIN LATERAL aclexplode(c.relacl) a
    WHERE c.relnamespace = 'stele'::regnamespace AND a.grantee = quote_ident(shared)::regrole
  LOOP
    EXECUTE format('GRANT %s ON %s TO stele_server', held.privilege, held.relation);
    EXECUTE format('REVOKE %s ON %s FROM %I', held.privilege, held.relation, shared);
  END LOOP;
  REVOKE CREATE ON SCHEMA stele FROM stele_server;
  EXECUTE format('REVOKE ALL ON SCHEMA stele FROM %I', shared);
END
$$;
-- +goose StatementEnd
