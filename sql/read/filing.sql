-- Filing: where an actor's events are, and an action's, written down some time after they were recorded, thousands at a time.
--
-- A write pays for every index of the log; for this it does not. What is not filed yet is read as it is: audit_internal.unfiled().

create or replace function audit_internal.unfiled()
returns table (id bigint, occurred_at timestamptz, org_id text, category text, action text, actor_id text)
language plpgsql
stable
set search_path = pg_catalog, pg_temp
-- A plan that is kept knows no snapshot, and would read all of an index.
set plan_cache_mode = force_custom_plan
as $$
declare
    head audit.filing;
begin
    -- (First: joined with that row, no plan knows the snapshot either.)
    select * into strict head from audit.filing;
    if head.foreign_filed < head.foreign_id then
        return query
        select event.id, event.occurred_at, event.org_id, event.category, event.action, event.actor_id
        from audit.event
        where event.id > head.foreign_filed and event.id <= head.foreign_id;
    end if;
    return query
    select event.id, event.occurred_at, event.org_id, event.category, event.action, event.actor_id
    from audit.event
    -- (As in audit_internal.batch(), but by one range of transactions: with two, planning takes three times as long.)
    where event.xid >= pg_snapshot_xmin(head.to_snapshot)
        and event.xid < pg_snapshot_xmax(pg_current_snapshot())
        and not pg_visible_in_snapshot(event.xid, head.to_snapshot)
        and pg_visible_in_snapshot(event.xid, pg_current_snapshot())
        and event.id > head.foreign_id;
end
$$;

comment on function audit_internal.unfiled() is 'The events that audit_internal.file_events() has not filed yet, as far as the present role sees them.';

create or replace function audit_internal.restart_filing(head audit.filing)
returns audit.filing
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
begin
    delete from audit.filed;
    head.system_identifier := audit_internal.system_identifier();
    head.to_snapshot := audit_internal.first_snapshot('-infinity');
    head.foreign_id := audit_internal.foreign_id();
    head.foreign_filed := 0;
    return head;
end
$$;

comment on function audit_internal.restart_filing(audit.filing) is
    'Forgets what was filed, in a database that was restored into another cluster or never filed anything. From where to go on.';

create or replace function audit_internal.file_events(p_least integer default 1000, p_apart integer default 100000)
returns boolean
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
-- (As in audit_internal.unfiled().)
set plan_cache_mode = force_custom_plan
as $$
declare
    -- Of one actor or action in one row: who reads of a row reads it whole.
    most_in_row constant integer := 1024;
    -- Rows of more are not merged: it would save less than a tenth of them.
    few_in_row constant integer := 32;
    most_by_id constant integer := 100000;
    head audit.filing;
    present pg_snapshot;
    next_snapshot pg_snapshot;
    next_foreign bigint;
    is_last boolean := false;
    merging boolean;
begin
    -- Two at once: the second leaves it to the first.
    select * into head from audit.filing for update skip locked;
    if not found then
        return false;
    end if;
    if head.system_identifier is distinct from audit_internal.system_identifier() then
        head := audit_internal.restart_filing(head);
        update audit.filing
        set
            system_identifier = head.system_identifier,
            to_snapshot = head.to_snapshot,
            foreign_id = head.foreign_id,
            foreign_filed = head.foreign_filed;
    end if;
    present := audit_internal.present_snapshot();
    next_snapshot := head.to_snapshot;
    next_foreign := head.foreign_id;
    if head.foreign_filed < head.foreign_id then
        select coalesce(max(foreign_event.id), head.foreign_id)
        into next_foreign
        from (
            select event.id
            from audit.event
            where event.id > head.foreign_filed and event.id <= head.foreign_id
            order by event.id
            limit most_by_id
        ) as foreign_event;
    else
        next_snapshot := audit_internal.snapshot_after(head.to_snapshot, present);
        is_last := audit_internal.transactions_between(next_snapshot, present) = 0;
        if is_last
            and p_least > (
                select count(*)
                from (
                    select
                    from audit_internal.batch(head.to_snapshot, next_snapshot) as event
                    where event.id > head.foreign_id
                    limit p_least
                ) as waiting
            )
        then
            return false;
        end if;
    end if;
    merging := (select coalesce(max(number), 0) from audit.filed) - head.merged >= p_apart;
    with given as materialized (
        select event.id, event.occurred_at, event.org_id, event.category, event.action, event.actor_id
        from audit.event
        where event.id > head.foreign_filed and event.id <= next_foreign
        union all
        select event.id, event.occurred_at, event.org_id, event.category, event.action, event.actor_id
        from audit_internal.batch(head.to_snapshot, next_snapshot) as event
        where event.id > head.foreign_id
    ),
    -- Among a thousand events few are of the same actor: the rows of many calls are filed anew, together.
    taken as (
        delete from audit.filed where merging and number > head.merged and events <= few_in_row returning *
    ),
    entry as (
        select category, action, null::bigint as actor_hash, null::text as org_id, id, occurred_at
        from given
        union all
        select null, null, hashtextextended(actor_id, 0), org_id, id, occurred_at
        from given
        where actor_id is not null
        union all
        select taken.category, taken.action, taken.actor_hash, taken.org_id, found.id, found.occurred_at
        from taken
        cross join unnest(taken.ids, taken.times) as found (id, occurred_at)
    ),
    placed as (
        select
            entry.*,
            (row_number() over (partition by category, action, actor_hash, org_id order by occurred_at, id) - 1) / most_in_row as row
        from entry
    )
    insert into audit.filed (category, action, actor_hash, org_id, first_time, last_time, events, ids, times)
    select
        category, action, actor_hash, org_id, min(occurred_at), max(occurred_at), count(*),
        array_agg(id order by occurred_at, id), array_agg(occurred_at order by occurred_at, id)
    from placed
    group by category, action, actor_hash, org_id, row;
    update audit.filing
    set
        to_snapshot = next_snapshot,
        foreign_filed = next_foreign,
        merged = case when merging then (select max(number) from audit.filed) else merged end;
    return not is_last;
end
$$;

comment on function audit_internal.file_events(integer, integer) is
    'Files events by actor and by action, once so many (p_least) wait for it: those of at most 100,000 transactions; and merges what was filed in more rows than p_apart. Whether there are more. The worker calls it, and audit.maintain().';

create or replace function audit_internal.unfile(p_begins timestamptz, p_ends timestamptz)
returns void
language sql
volatile
as $$
    delete from audit.filed where first_time >= p_begins and last_time < p_ends;
    -- What reaches beyond that time keeps the rest. (None of it may be left: then it goes as well.)
    with split as (
        delete from audit.filed where first_time < p_ends and last_time >= p_begins returning *
    )
    insert into audit.filed (category, action, actor_hash, org_id, first_time, last_time, events, ids, times)
    select
        split.category, split.action, split.actor_hash, split.org_id, min(entry.occurred_at), max(entry.occurred_at), count(*),
        array_agg(entry.id order by entry.place), array_agg(entry.occurred_at order by entry.place)
    from split
    cross join unnest(split.ids, split.times) with ordinality as entry (id, occurred_at, place)
    where entry.occurred_at < p_begins or entry.occurred_at >= p_ends
    group by split.category, split.action, split.actor_hash, split.org_id, split.ids, split.times
$$;

comment on function audit_internal.unfile(timestamptz, timestamptz) is 'Forgets where the events of a time [begins, ends) are, as these go.';

create or replace function audit_internal.rename_filed(p_actor_ids text[], p_pseudonym text)
returns void
language sql
volatile
as $$
    update audit.filed
    set actor_hash = pg_catalog.hashtextextended(p_pseudonym, 0)
    where actor_hash in (select pg_catalog.hashtextextended(actor_id, 0) from unnest(p_actor_ids) as actor_id)
$$;

comment on function audit_internal.rename_filed(text[], text) is 'What was filed under ids of an actor is from now on filed under a pseudonym.';

select audit_internal.keep_out_of_statistics('audit.filed');
