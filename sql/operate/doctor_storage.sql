-- What is wrong with the tables of the log, and between hubs and nodes. See audit.doctor().

create or replace function audit_internal.find_storage_problems()
returns setof audit.finding
language sql
stable
as $$
    -- Triggers that refuse changes of the log and are missing, don't fire, or differ from what pgtrail created.
    select
        'log unprotected',
        audit_internal.qualified_name(relation),
        pg_catalog.format(
            '%s %s: a superuser''s mistake can change or remove events',
            trigger_name,
            case shown.state
                when 'missing' then 'is not there'
                when 'altered' then 'is not as pgtrail created it'
                when 'function altered' then 'calls a function that is not as pgtrail installed it'
                when 'replica' then 'fires in replication only'
                else 'is disabled'
            end
        ),
        case
            when shown.state = 'function altered' then
                'restore audit_internal.refuse_change() and audit_internal.is_erasure() as sql/capture/event.sql has them'
            when shown.state not in ('missing', 'altered') then
                pg_catalog.format('alter table %s enable trigger %I', audit_internal.qualified_name(relation), trigger_name)
            when trigger_name = 'refuse_truncate' then
                pg_catalog.format(
                    'create or replace trigger refuse_truncate before truncate on %s for each statement execute function audit_internal.refuse_change()',
                    audit_internal.qualified_name(relation)
                )
            else
                pg_catalog.format(
                    'create or replace trigger refuse_change before update or delete on %s for each row execute function audit_internal.refuse_change()',
                    -- (A partition's is its root's.)
                    audit_internal.qualified_name(case shown.state when 'altered' then root else relation end)
                )
        end
    from audit_internal.judged_triggers() as judged
    cross join lateral (
        select audit_internal.trigger_state(judged.state, judged.trigger_altered, judged.function_altered)
    ) as shown (state)
    where kind = 'protection' and shown.state not in ('enabled', 'always')
    union all
    -- This month and the next, where no partition is made for them: the worker makes them hourly, so none may be running.
    select
        'partition missing',
        'audit.event',
        pg_catalog.format('there is no partition for %s', pg_catalog.to_char(month.begins, 'YYYY-MM')),
        'select audit.make_partitions()'
    from pg_catalog.generate_series(0, 1) as ahead
    cross join lateral (
        -- Months begin at midnight UTC.
        select pg_catalog.date_trunc('month', pg_catalog.now() at time zone 'UTC') + pg_catalog.make_interval(months => ahead)
    ) as month (begins)
    where not audit_internal.overlaps_partition(
        month.begins at time zone 'UTC', (month.begins + interval '1 month') at time zone 'UTC'
    )
    union all
    -- Events that no partition was made for. Information where audit.make_partitions() can't turn the default partition
    -- into one.
    (
        with spilled as (
            select
                pg_catalog.date_trunc('month', pg_catalog.min(occurred_at) at time zone 'UTC') as first_month,
                pg_catalog.date_trunc('month', pg_catalog.max(occurred_at) at time zone 'UTC') as last_month
            from audit.event_default
        ),
        judged as (
            select
                pg_catalog.to_char(first_month, 'YYYY-MM') as first_month,
                pg_catalog.to_char(last_month, 'YYYY-MM') as last_month,
                audit_internal.overlaps_partition(
                    first_month at time zone 'UTC', (last_month + interval '1 month') at time zone 'UTC'
                ) as stays
            from spilled
            where first_month is not null
        )
        select
            case when stays then 'information' else 'default partition filled' end,
            'audit.event_default',
            pg_catalog.format('it holds events of %s to %s', first_month, last_month)
                || case when stays then ', between which other months have partitions: it can''t become one' else '' end,
            case
                when stays then 'nothing has to be done: they are read and forwarded like the others'
                else 'select audit.make_partitions()'
            end
        from judged
    )
    union all
    -- Tables of the log that a publication has and whose rows have no replica identity: Postgres refuses each update and
    -- delete of them.
    (
        with covered as (
            select distinct tree.relid as relation, publication.pubname
            from pg_catalog.pg_publication as publication
            cross join lateral pg_catalog.pg_get_publication_tables(publication.pubname::text) as member
            cross join lateral (
                select member.relid
                union
                select part.relid from pg_catalog.pg_partition_tree(member.relid) as part
            ) as tree
            where publication.pubupdate or publication.pubdelete
        )
        select
            'publication blocks',
            audit_internal.qualified_name(class.oid),
            pg_catalog.format(
                'publication %s has it, and it has no replica identity: erasure and retention fail at it',
                pg_catalog.string_agg(pg_catalog.quote_ident(covered.pubname), ', ' order by covered.pubname)
            ),
            pg_catalog.format('alter table %s replica identity %s', audit_internal.qualified_name(class.oid), case when keys.is_there then 'default' else 'full' end)
        from covered
        join pg_catalog.pg_class as class on class.oid = covered.relation and class.relkind = 'r'
        cross join lateral (
            select exists (
                select from pg_catalog.pg_index where indrelid = class.oid and indisprimary and indisvalid
            )
        ) as keys (is_there)
        where class.relnamespace = 'audit'::pg_catalog.regnamespace
            and case class.relreplident
                when 'n' then true
                when 'd' then not keys.is_there
                when 'i' then not exists (select from pg_catalog.pg_index where indrelid = class.oid and indisreplident and indisvalid)
                else false
            end
        group by class.oid, keys.is_there
    )
$$;

comment on function audit_internal.find_storage_problems() is 'What is wrong with the tables of the log: their protection, their partitions, publications that have them.';

create or replace function audit_internal.find_hub_problems()
returns setof audit.finding
language sql
stable
as $$
    -- Nodes of this hub that send nothing, or have rewritten their history.
    select
        'node not followed',
        name,
        case state
            when 'disabled' then 'its subscription is disabled: its events wait there'
            when 'stopped' then 'its subscription does not run: it failed, and the server''s log says why'
            else 'its subscription is gone, and what it records does not arrive'
        end,
        case state
            when 'disabled' then pg_catalog.format('alter subscription %I enable', audit_internal.subscription_name(name))
            when 'stopped' then 'pgtrail status'
            else pg_catalog.format('pgtrail hub remove %1$s, then pgtrail hub add %1$s', name)
        end
    from audit_internal.node_state()
    where state not in ('streaming', 'copying', 'removed')
    union all
    select
        'node rewritten',
        name,
        pg_catalog.format('seal %s does not follow what had arrived: its history was rewritten, or it was restored from a backup', broken_seal),
        'pgtrail verify --node ' || name
    from audit.node
    where broken_seal is not null and removed_at is null
    union all
    select
        'hub changed',
        name,
        'this hub was restored or promoted since it was added: what it had confirmed to the node may be missing here',
        pg_catalog.format('pgtrail hub remove %1$s, then pgtrail hub add %1$s: what is here already is not copied again', name)
    from audit_internal.node_state()
    where hub_changed and state <> 'removed'
    union all
    -- Slots of hubs at this node that nobody reads: they retain the write-ahead log.
    select
        'hub does not read',
        slot.slot_name::text,
        case slot.wal_status
            when 'lost' then 'its slot was given up for max_slot_wal_keep_size: what is recorded does not reach the hub'
            else pg_catalog.format('nobody reads its slot, which holds %s of the write-ahead log', pg_catalog.pg_size_pretty(pg_catalog.pg_wal_lsn_diff(pg_catalog.pg_current_wal_lsn(), slot.restart_lsn)))
        end,
        pg_catalog.format('at the hub: pgtrail status; if there is none any more: select %s(%L)', case when pg_catalog.starts_with(slot.slot_name, 'pgtrail_') then 'audit.unpublish' else 'pg_drop_replication_slot' end, slot.slot_name)
    from pg_catalog.pg_replication_slots as slot
    where slot.database = pg_catalog.current_database()
        and slot.plugin = 'pgoutput'
        -- (Also of an abandoned copy.)
        and (pg_catalog.starts_with(slot.slot_name, 'pgtrail_') or slot.slot_name ~ '^pg_[0-9]+_sync_[0-9]+_[0-9]+$')
        and not slot.active
        and not slot.temporary
        and not pg_catalog.pg_is_in_recovery()
$$;

comment on function audit_internal.find_hub_problems() is 'What is wrong between a hub and its nodes.';
