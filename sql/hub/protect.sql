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

comment on function audit_internal.replicated_tables() is 'What a node publishes, and the function by which a hub takes it in.';

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

comment on function audit_internal.is_hub() is 'Whether this database takes in the events of others.';

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
    'Whether there may be events of other databases in this log: also of nodes that were removed, or in the copy of a hub.';

create or replace trigger refuse_change
    before update or delete on audit.node_seal
    for each row execute function audit_internal.refuse_change();

create or replace trigger refuse_truncate
    before truncate on audit.node_seal
    for each statement execute function audit_internal.refuse_change();

create or replace trigger refuse_change
    before update or delete on audit.node_seal_leaves
    for each row execute function audit_internal.refuse_change();

create or replace trigger refuse_truncate
    before truncate on audit.node_seal_leaves
    for each statement execute function audit_internal.refuse_change();
