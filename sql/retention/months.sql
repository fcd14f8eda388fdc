-- The months of the log: its partitions, made ahead.

create or replace function audit.make_partitions(months_ahead integer default 3)
returns integer
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
set quote_all_identifiers = off
set standard_conforming_strings = on
-- Months begin at midnight UTC, whatever the session's time zone.
set timezone = 'UTC'
as $$
begin
    -- Two at once: the second finds everything made.
    lock table audit.event_default in share update exclusive mode;
    perform audit_internal.convert_default_partition();
    return audit_internal.make_missing_partitions(
        array(select generate_series(now(), now() + make_interval(months => months_ahead), interval '1 month'))
    );
end
$$;

comment on function audit.make_partitions(integer) is
    'Makes the missing partitions of this month and the months ahead, and turns a default partition with rows into one. Returns how many it made. The worker and `pgtrail migrate` call it.';

create or replace function audit_internal.make_partition(month_begins timestamptz)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    month_name text := 'event_' || to_char(month_begins at time zone 'UTC', 'YYYY_MM');
    partition_name text := month_name;
    again integer := 1;
begin
    -- An import can bring back a month that retention has dropped, and it can be dropped again.
    while to_regclass(format('audit.%I', partition_name)) is not null
        or exists (select from audit.dropped_partition where name = format('audit.%I', partition_name))
    loop
        again := again + 1;
        partition_name := format('%s_%s', month_name, again);
    end loop;
    execute format(
        'create table audit.%1$I (like audit.event including defaults including constraints)', partition_name
    );
    perform audit_internal.attach_partition(partition_name, month_begins, month_begins + interval '1 month');
end
$$;

comment on function audit_internal.make_partition(timestamptz) is 'Makes the partition of the month that begins at a time.';

create or replace function audit_internal.attach_partition(partition_name text, begins timestamptz, ends timestamptz)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
-- (A time zone's abbreviation, in other styles, is ambiguous.)
set datestyle = 'ISO'
as $$
begin
    execute format(
        'create or replace trigger refuse_truncate before truncate on audit.%I '
        'for each statement execute function audit_internal.refuse_change()',
        partition_name
    );
    -- Attached, not created in place, which would block writers.
    execute format('alter table audit.event attach partition audit.%I for values from (%L) to (%L)', partition_name, begins, ends);
    perform audit_internal.disable_statistics(format('audit.%I', partition_name)::regclass);
    execute format('comment on table audit.%I is %L', partition_name, format('Events from %s to before %s.', begins, ends));
end
$$;

comment on function audit_internal.attach_partition(text, timestamptz, timestamptz) is
    'Attaches a table of the right shape as the partition of audit.event for [begins, ends).';

create or replace function audit_internal.disable_statistics(relation regclass)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    changes text := (
        select string_agg(distinct format('alter column %I set statistics 0', attname), ', ')
        from pg_attribute
        where attrelid in (select relid from audit_internal.partition_tree(relation))
            and attnum > 0
            and not attisdropped
            and attstattarget is distinct from 0
            -- How many events there are, and when, is not secret; the plans of a page and of a batch need it.
            and attname not in ('id', 'xid', 'occurred_at')
    );
begin
    if changes is not null then
        execute format('alter table %s %s', audit_internal.qualified_name(relation), changes);
    end if;
end
$$;

comment on function audit_internal.disable_statistics(regclass) is
    'Makes ANALYZE collect statistics of ids and times only, of a table and its partitions. Row-level security does not cover statistics: EXPLAIN would reveal values of other organizations.';

create or replace function audit_internal.partition_bounds()
returns table (partition regclass, begins timestamptz, ends timestamptz)
language sql
stable
set search_path = pg_catalog, pg_temp
-- (A time zone's abbreviation, in other styles, is ambiguous.)
set datestyle = 'ISO'
as $$
    select
        child.oid::regclass,
        bound.parts[1]::timestamptz,
        bound.parts[2]::timestamptz
    from pg_catalog.pg_inherits as inherits
    join pg_catalog.pg_class as child on child.oid = inherits.inhrelid
    cross join lateral (
        select pg_catalog.regexp_match(
            pg_catalog.pg_get_expr(child.relpartbound, child.oid), $re$FROM \('([^']+)'\) TO \('([^']+)'\)$re$
        ) as parts
    ) as bound
    where inherits.inhparent = 'audit.event'::pg_catalog.regclass
        and bound.parts is not null
$$;

comment on function audit_internal.partition_bounds() is 'Returns the partitions of audit.event, without the default one, with their bounds [begins, ends).';

create or replace function audit_internal.overlaps_partition(from_time timestamptz, to_time timestamptz)
returns boolean
language sql
stable
as $$
    select exists (
        select from audit_internal.partition_bounds() as bounds where bounds.begins < to_time and bounds.ends > from_time
    )
$$;

comment on function audit_internal.overlaps_partition(timestamptz, timestamptz) is 'Whether a partition holds any moment of [from_time, to_time).';

create or replace function audit_internal.convert_default_partition()
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    begins timestamptz;
    ends timestamptz;
    partition_name text;
begin
    select date_trunc('month', min(occurred_at)), date_trunc('month', max(occurred_at)) + interval '1 month'
    into begins, ends
    from audit.event_default;

    -- If its rows span months that have partitions, they stay: they are read and forwarded all the same.
    if begins is null or audit_internal.overlaps_partition(begins, ends) then
        return;
    end if;

    partition_name := 'event_' || to_char(begins, 'YYYY_MM')
        || case when ends > begins + interval '1 month' then '_to_' || to_char(ends - interval '1 month', 'YYYY_MM') else '' end;
    -- Its trigger's state is not reported as missing: the table is renamed next.
    delete from audit.own_trigger where relation = 'audit.event_default'::regclass;
    -- The table itself becomes the partition: no row is moved.
    alter table audit.event detach partition audit.event_default;
    execute format('alter table audit.event_default rename to %I', partition_name);
    perform audit_internal.attach_partition(partition_name, begins, ends);
    create table audit.event_default partition of audit.event default;
    perform audit_internal.disable_statistics('audit.event_default');
    create trigger refuse_truncate
        before truncate on audit.event_default
        for each statement execute function audit_internal.refuse_change();
    comment on table audit.event_default is
        'Catches events of months that have no partition yet; audit.make_partitions() turns it into one.';
end
$$;

comment on function audit_internal.convert_default_partition() is
    'Turns a default partition that holds rows into the partition of their months, and makes an empty one.';

create or replace function audit_internal.make_missing_partitions(p_times timestamptz[])
returns integer
language plpgsql
set search_path = pg_catalog, pg_temp
set timezone = 'UTC'
as $$
declare
    month_begins timestamptz;
    made integer := 0;
begin
    for month_begins in
        select distinct date_trunc('month', moment) as month
        from unnest(p_times) as moment
        order by month
    loop
        continue when audit_internal.overlaps_partition(month_begins, month_begins + interval '1 month');
        if made = 0 then
            -- Two at once: the second finds everything made.
            lock table audit.event_default in share update exclusive mode;
            perform audit_internal.convert_default_partition();
        end if;
        -- Rows of that month in the default partition stay there, and new ones join them.
        continue when audit_internal.overlaps_partition(month_begins, month_begins + interval '1 month')
            or exists (
                select from audit.event_default
                where occurred_at >= month_begins and occurred_at < month_begins + interval '1 month'
            );
        perform audit_internal.make_partition(month_begins);
        made := made + 1;
    end loop;
    return made;
end
$$;

comment on function audit_internal.make_missing_partitions(timestamptz[]) is 'Makes the missing partitions for the months of some times. Returns how many it made.';

select audit_internal.disable_statistics('audit.event');
select audit_internal.disable_statistics('audit.org_grant');

-- Made before anything is recorded, so that the default partition stays empty.
select audit.make_partitions();
