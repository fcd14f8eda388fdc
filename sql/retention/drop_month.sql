-- Dropping a month: reasons to keep it, the evidence it leaves, and the event that records it.

create or replace function audit_internal.is_pending(event audit.event, cursor_row audit.cursor)
returns boolean
language sql
immutable
as $$
    select case
        when event.id <= cursor_row.restored_id then
            cursor_row.takes_restored and event.id > cursor_row.last_sent_id and event.id <> all (cursor_row.sent_ahead)
        when pg_catalog.pg_visible_in_snapshot(event.xid, cursor_row.batch_from) then false
        when pg_catalog.pg_visible_in_snapshot(event.xid, cursor_row.batch_to) then
            event.id > cursor_row.last_sent_id and event.id <> all (cursor_row.sent_ahead)
        else true
    end
$$;

comment on function audit_internal.is_pending(audit.event, audit.cursor) is 'Whether a cursor has yet to reach an event.';

create or replace function audit_internal.partition_kept_until(p_partition regclass, p_ends timestamptz)
returns timestamptz
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
    kept_until timestamptz;
begin
    execute format(
        $query$
            select max(coalesce($1 + coalesce(own.keep, otherwise.keep), 'infinity'))
            from (select distinct category from %s) as held
            left join audit.retention as own on own.category = held.category
            left join audit.retention as otherwise on otherwise.category is null
        $query$,
        p_partition
    )
    into kept_until
    using p_ends;
    -- An empty month is kept as long as the default says.
    return coalesce(kept_until, p_ends + (select keep from audit.retention where category is null), 'infinity');
end
$$;

comment on function audit_internal.partition_kept_until(regclass, timestamptz) is
    'Returns when the last event of a partition may be dropped, by its category; infinity: never.';

create or replace function audit_internal.reasons_to_keep(p_partition regclass, p_include_undelivered boolean default false)
returns text[]
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
    reasons text[];
begin
    execute format(
        $query$
            select array(
                select format('legal hold %%s', hold.name)
                from audit.legal_hold as hold
                where exists (
                    select
                    from %1$s as event
                    where (hold.org_id is null or event.org_id = hold.org_id)
                        and event.occurred_at >= coalesce(hold.since, '-infinity')
                        and event.occurred_at < coalesce(hold.until, 'infinity')
                )
                order by hold.name
            ) || array(
                select format('%%s events are not sealed yet', count(*))
                from %1$s as event
                where not audit_internal.is_sealed(event)
                having count(*) > 0
            ) || case when $1 then '{}' else array(
                select format('destination %%s has not received %%s of its events', destination.name, waiting.events)
                from audit.destination
                join audit.cursor on cursor.destination_id = destination.id and cursor.replay_id is null
                cross join lateral (
                    select count(*) as events
                    from %1$s as event
                    where audit_internal.matches_destination_live(event, destination) and audit_internal.is_pending(event, cursor)
                ) as waiting
                where waiting.events > 0
                order by destination.name
            ) || array(
                select format('destination %%s has %%s dead letters in it', destination.name, count(*))
                from audit.dead_letter
                join audit.destination on destination.id = dead_letter.destination_id
                join %1$s as event on event.id = dead_letter.event_id
                where dead_letter.delivered_at is null
                group by destination.name
            ) || array(
                select format('a replay to destination %%s is not finished', destination.name)
                from audit.replay
                join audit.destination on destination.id = replay.destination_id
                where replay.finished_at is null
                group by destination.name
            ) end
        $query$,
        p_partition
    )
    into reasons
    using p_include_undelivered;
    return reasons;
end
$$;

comment on function audit_internal.reasons_to_keep(regclass, boolean) is
    'Returns why a partition can''t be dropped, however old: legal holds, unsealed events, and (unless p_include_undelivered) events that a destination has not received.';

create or replace function audit.retention_plan(
    p_include_undelivered boolean default false, p_before timestamptz default null, p_partition text default null
)
returns table (partition text, begins timestamptz, ends timestamptz, events bigint, kept_because text[])
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
set quote_all_identifiers = off
set standard_conforming_strings = on
as $$
declare
    bounds record;
begin
    for bounds in
        select *
        from audit_internal.partition_bounds() as known
        where known.ends <= least(date_trunc('month', now()), p_before)
            and (p_partition is null or audit_internal.qualified_name(known.partition) = p_partition)
        order by known.begins
    loop
        continue when p_before is null and audit_internal.partition_kept_until(bounds.partition, bounds.ends) > now();
        partition := audit_internal.qualified_name(bounds.partition);
        begins := bounds.begins;
        ends := bounds.ends;
        kept_because := audit_internal.reasons_to_keep(bounds.partition, p_include_undelivered);
        execute format('select count(*) from %s', bounds.partition) into events;
        return next;
    end loop;
end
$$;

comment on function audit.retention_plan(boolean, timestamptz, text) is
    'Returns the months (or the one named) that are old enough to be dropped, oldest first; kept_because: why one is kept nevertheless, empty if it can be dropped. Whole months only, never the present one. p_before: those that end by then, whatever the retention, to be archived.';

create or replace function audit_internal.evidence_to_keep(p_partition regclass)
returns jsonb
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
    carried jsonb;
begin
    execute format(
        $query$
            select jsonb_object_agg(fact.id, fact.evidence)
            from (
                select
                    event.id::text,
                    case event.action
                        when 'audit.actor_erased' then jsonb_build_object('digest', event.after -> 'digest')
                        else event.after - '{carried,archive,archive_sha256,include_undelivered}'::text[]
                    end as evidence
                from %1$s as event
                where event.node is null and event.action in ('audit.actor_erased', 'audit.partition_dropped')
                union all
                select earlier.key, earlier.value
                from %1$s as event
                cross join lateral jsonb_each(event.after -> 'carried') as earlier
                where event.node is null and event.action = 'audit.partition_dropped' and event.after ? 'carried'
            ) as fact
        $query$,
        p_partition
    )
    into carried;
    return carried;
end
$$;

comment on function audit_internal.evidence_to_keep(regclass) is
    'Returns what the events of a partition record of erasures and earlier removals, by their ids: verification needs it once they are dropped. Null if there is nothing.';

create or replace function audit.drop_partition(
    p_partition text,
    p_archive text default null,
    p_archive_sha256 bytea default null,
    p_include_undelivered boolean default false,
    p_before timestamptz default null,
    p_events bigint default null
)
returns bigint
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
set quote_all_identifiers = off
set standard_conforming_strings = on
-- Writers queue behind this lock, so it gives up soon.
set lock_timeout = '5s'
as $$
declare
    plan record;
    is_due boolean;
    dropped audit.dropped_partition;
    carried jsonb;
begin
    -- Nothing is indexed meanwhile. (Locked before the log, in the order in which audit_internal.index_events() locks.)
    perform from audit.search_index_head for update;
    -- Changes nothing, but takes an exclusive lock, for which LOCK TABLE would require the right to update.
    alter table audit.event enable row level security;
    select * into plan from audit.retention_plan(p_include_undelivered, p_before, p_partition);
    if not found or plan.kept_because <> '{}' then
        raise exception using
            errcode = 'PT024',
            message = format('%s is kept: %s', p_partition, coalesce(array_to_string(plan.kept_because, '; '), 'it is not old enough, or not a month of the log')),
            hint = 'pgtrail retention run --dry-run shows what can be dropped.';
    elsif p_before is not null and p_archive is null then
        raise exception using
            errcode = 'PT009',
            message = format('%s is not old enough to be dropped without an archive', p_partition),
            hint = 'Events that retention still keeps can be archived, not deleted: name the archive and its SHA-256.';
    elsif plan.events <> p_events then
        raise exception using
            errcode = 'PT024',
            message = format('%s has %s events, and its archive %s', p_partition, plan.events, p_events),
            hint = 'Events of that time were recorded meanwhile: archive it again.';
    end if;
    is_due := exists (select from audit.retention_plan(p_include_undelivered, null, p_partition));
    execute format(
        'select count(*), coalesce(range_agg(int8range(id, id, ''[]'')), ''{}'') from %s', p_partition::regclass
    )
    into dropped.events, dropped.ids;
    carried := audit_internal.evidence_to_keep(p_partition::regclass);
    dropped.event_id := audit.record(
        'audit.partition_dropped', 'partition', p_partition, p_partition, null,
        jsonb_build_object(
            'begins', plan.begins,
            'ends', plan.ends,
            'events', dropped.events,
            'ids_sha256', encode(sha256(convert_to(dropped.ids::text, 'UTF8')), 'hex'),
            'archive', p_archive,
            'archive_sha256', encode(p_archive_sha256, 'hex'),
            'include_undelivered', p_include_undelivered
        )
            -- Events that retention still keeps leave for an archive, which can't be checked here.
            || case when is_due then '{}' else jsonb_build_object('before_due', true) end
            || case when carried is null then '{}' else jsonb_build_object('carried', carried) end
    );
    insert into audit.dropped_partition (name, begins, ends, events, ids, archive, archive_sha256, event_id)
    values (p_partition, plan.begins, plan.ends, dropped.events, dropped.ids, p_archive, p_archive_sha256, dropped.event_id);
    execute format(
        'insert into audit.node_dropped (node, name, here, ids) '
        'select node, %L, true, range_agg(int8range(node_id, node_id, ''[]'')) from %s where node is not null group by node',
        p_partition, p_partition::regclass
    );
    -- Its removal is recorded already.
    delete from audit.own_trigger where relation in (select relid from pg_partition_tree(p_partition::regclass));
    execute format('alter table audit.event detach partition %s', p_partition::regclass);
    execute format('drop table %s', p_partition::regclass);
    perform audit_internal.remove_from_search_index(plan.begins, plan.ends);
    return dropped.events;
end
$$;

comment on function audit.drop_partition(text, text, bytea, boolean, timestamptz, bigint) is
    'Drops a month that audit.retention_plan() allows to be dropped; its seals stay. Returns how many events it had. The name and SHA-256 of its archive are recorded; p_events: how many events that archive has, which must be all. PT009, PT024; 55P03 if the log is locked for longer than 5 s.';
