-- Whether this database is a hub, which tables replication writes to, and that nothing else changes them.

create or replace function audit_internal.replicated_tables()
returns table (relation regclass, receiver regproc)
language sql
stable
as $$
    values
        ('audit.event'::regclass, 'audit_internal.receive_event'::regproc),
        ('audit.seal', 'audit_internal.receive_seal'),
        ('audit.seal_leaves', 'audit_internal.receive_seal_leaves'),
        ('audit.salt', 'audit_internal.receive_salt'),
        ('audit.erased_part', 'audit_internal.receive_erased_part'),
        ('audit.dropped_partition', 'audit_internal.receive_dropped_partition')
$$;

comment on function audit_internal.replicated_tables() is 'Returns the tables that a node publishes, and the trigger function by which a hub receives each.';

create or replace function audit_internal.is_hub()
returns boolean
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
    select exists (
        select
        from pg_catalog.pg_trigger
        where tgrelid = 'audit.event'::pg_catalog.regclass
            and tgfoid = 'audit_internal.receive_event'::pg_catalog.regproc
            and tgenabled = 'R'
    )
$$;

comment on function audit_internal.is_hub() is 'Whether this database receives events of others.';

create or replace function audit_internal.has_nodes()
returns boolean
language sql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
    select exists (select from audit.node)
$$;

comment on function audit_internal.has_nodes() is
    'Whether this log may have events of other databases: also of removed nodes, or in a copy of a hub.';
