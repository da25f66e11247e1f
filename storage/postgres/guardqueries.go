package postgres

// The statements of guards.go. They read the system catalogs (PostgreSQL's manual,
// chapter 53) as they are since version 15. Sessions have no search path, so the names
// that functions such as pg_get_triggerdef print have their schema.

// sqlCore begins the statements below: the tables of the core, the owner of the schema,
// and the server's role.
const sqlCore = `
WITH core AS (
  SELECT c.oid, c.oid::regclass::text AS name, c.relowner, c.relacl, c.relrowsecurity
  FROM pg_class c
  WHERE c.relnamespace = 'stele'::regnamespace AND c.relkind = 'r'
    AND c.relname IN ('migrations', 'logs', 'epochs', 'heads', 'chunks', 'tiles', 'checkpoints', 'key_secrets')
), own AS (
  SELECT n.nspowner AS owner, s.relowner AS server
  FROM pg_namespace n JOIN pg_class s ON s.relnamespace = n.oid AND s.relname = 'key_pages'
  WHERE n.nspname = 'stele'
)`

// sqlGuards returns what each guard is and how it is made. The triggers of foreign keys
// have no names of their own: they count with their constraint.
const sqlGuards = sqlCore + `
SELECT format('trigger %s of %s', t.tgname, c.name),
  CASE t.tgenabled WHEN 'A' THEN 'always: ' WHEN 'D' THEN 'disabled: ' ELSE 'not always: ' END || pg_get_triggerdef(t.oid)
FROM core c JOIN pg_trigger t ON t.tgrelid = c.oid
WHERE NOT t.tgisinternal
UNION ALL
SELECT format('constraint %s of %s', k.conname, c.name),
  CASE WHEN NOT k.convalidated THEN 'not validated: '
    WHEN EXISTS (SELECT FROM pg_trigger t WHERE t.tgconstraint = k.oid AND t.tgenabled = 'D') THEN 'disabled: '
    ELSE 'enforced: ' END || pg_get_constraintdef(k.oid)
FROM core c JOIN pg_constraint k ON k.conrelid = c.oid
WHERE k.contype IN ('p', 'u', 'f', 'c')
UNION ALL
SELECT format('function %s', p.oid::regprocedure),
  format('%s%s, body %s', CASE WHEN p.prosecdef THEN 'security definer, ' END, array_to_string(p.proconfig, ', '), md5(p.prosrc))
FROM pg_proc p
WHERE p.pronamespace = 'stele'::regnamespace
UNION ALL
SELECT format('rule %s of %s', r.rulename, c.name), pg_get_ruledef(r.oid)
FROM core c JOIN pg_rewrite r ON r.ev_class = c.oid`

// sqlExcessRights returns a sentence for each right to change the core that is not the
// owner's, for each owner who is not the schema's, and if the server's role could act as
// the owner. Anybody may be granted to read.
const sqlExcessRights = sqlCore + `
SELECT format('%s has the right to %s %s', coalesce(quote_ident(r.rolname), 'everybody'), a.privilege_type, a.name)
FROM own CROSS JOIN (
  SELECT c.name, c.relowner, x.* FROM core c CROSS JOIN LATERAL aclexplode(c.relacl) x
  UNION ALL
  SELECT c.name, c.relowner, x.* FROM core c JOIN pg_attribute t ON t.attrelid = c.oid CROSS JOIN LATERAL aclexplode(t.attacl) x
) a LEFT JOIN pg_roles r ON r.oid = a.grantee
WHERE a.grantee <> a.relowner AND a.privilege_type IN ('INSERT', 'UPDATE', 'DELETE', 'TRUNCATE', 'TRIGGER')
  AND NOT (a.grantee = own.server AND a.privilege_type = 'INSERT')
UNION ALL
SELECT format('%s belongs to %s, and the schema to %s', t.name, t.owner::regrole, own.owner::regrole)
FROM own CROSS JOIN (
  SELECT name, relowner AS owner FROM core
  UNION ALL
  SELECT 'function ' || oid::regprocedure, proowner FROM pg_proc WHERE pronamespace = 'stele'::regnamespace
) t
WHERE t.owner <> own.owner
UNION ALL
SELECT format('%s hides rows by row security', name) FROM core WHERE relrowsecurity
UNION ALL
SELECT format('the server''s role %s may act as %s, who owns the schema', server::regrole, owner::regrole)
FROM own WHERE pg_has_role(server, owner, 'MEMBER')
ORDER BY 1`

// sqlBeyond returns a sentence for each log that has rows which no head covers. It looks
// at the edges alone.
const sqlBeyond = `
SELECT format('log %s has %s beyond its head of %s entries, which no commit has made', l.name, beyond.row, h.size)
FROM stele.logs l
CROSS JOIN LATERAL (
  SELECT coalesce(max(size), 0) AS size FROM stele.heads WHERE log_id = l.log_id
) h
CROSS JOIN LATERAL (
  (SELECT format('a chunk at entry %s', start) AS row FROM stele.chunks
   WHERE log_id = l.log_id AND start >= h.size / 256 * 256 AND start + count > h.size ORDER BY start LIMIT 1)
  UNION ALL
  SELECT format('tile %s of level %s', t.index, t.level)
  FROM generate_series(0, 7) AS of (level) CROSS JOIN LATERAL (
    SELECT index, level FROM stele.tiles
    WHERE log_id = l.log_id AND level = of.level AND index >= h.size >> least(8 * (of.level + 1), 63)
    ORDER BY index LIMIT 1) t
) beyond
ORDER BY 1`

// sqlPower returns why the user of this connection could take the guards off, or ”.
const sqlPower = `
SELECT CASE
  WHEN u.rolsuper THEN format('user %s is a superuser', session_user)
  WHEN pg_has_role(u.oid, n.nspowner, 'MEMBER') THEN format('user %s owns the schema, or may act as its owner', session_user)
  ELSE '' END
FROM pg_roles u CROSS JOIN pg_namespace n
WHERE u.rolname = session_user AND n.nspname = 'stele'`
