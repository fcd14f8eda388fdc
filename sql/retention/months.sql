-- The months of the log: partitions that are made ahead.

create or replace function audit.make_partitions(months_ahead integer default 3)
returns integer
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
set quote_all_identifiers = off
set standard_conforming_strings = on
-- Months begin at midnight UTC, whoever makes them.
set timezone = 'UTC'
as $$
declare
    first_month timestamptz;
    month_begins timestamptz;
    made integer := 0;
begin
    -- Two at once: the second finds everything made.
    lock table audit.event_default in share update exclusive mode;
    perform audit_internal.adopt_default_partition();

    first_month := date_trunc('month', now());
    for month_begins in
        select generate_series(first_month, first_month + make_interval(months => months_ahead), interval '1 month')
    loop
        continue when audit_internal.overlaps_partition(month_begins, month_begins + interval '1 month');
        perform audit_internal.make_partition(month_begins);
        made := made + 1;
    end loop;
    return made;
end
$$;

comment on function audit.make_partitions(integer) is
    'Makes the partitions of this month and the months ahead that are missing, and turns a default partition that has filled into one. How many it made. The worker and `pgtrail migrate` call it.';

create or replace function audit_internal.make_partition(month_begins timestamptz)
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
    month_name text := 'event_' || to_char(month_begins at time zone 'UTC', 'YYYY_MM');
    partition_name text := month_name;
    again integer := 1;
begin
    -- A month that retention has dropped can come back by an import, and be dropped again.
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

comment on function audit_internal.make_partition(timestamptz) is 'Makes the partition of the month that begins then.';

create or replace function audit_internal.attach_partition(partition_name text, begins timestamptz, ends timestamptz)
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
-- (A zone's abbreviation, as other styles write it, may be read as another zone's.)
set datestyle = 'ISO'
as $$
begin
    execute format(
        'create or replace trigger refuse_truncate before truncate on audit.%I '
        'for each statement execute function audit_internal.refuse_change()',
        partition_name
    );
    -- Attached, not created in place: that takes no lock that a writer would wait for.
    execute format('alter table audit.event attach partition audit.%I for values from (%L) to (%L)', partition_name, begins, ends);
    perform audit_internal.keep_out_of_statistics(format('audit.%I', partition_name)::regclass);
    execute format('comment on table audit.%I is %L', partition_name, format('Events from %s to before %s.', begins, ends));
end
$$;

comment on function audit_internal.attach_partition(text, timestamptz, timestamptz) is
    'Makes a table of the right shape the partition of audit.event for [begins, ends).';

create or replace function audit_internal.keep_out_of_statistics(relation regclass)
returns void
language plpgsql
volatile
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
            -- How many events there are, and when, is no secret; the plans of a page and of a batch need it.
            and attname not in ('id', 'xid', 'occurred_at')
    );
begin
    if changes is not null then
        execute format('alter table %s %s', audit_internal.qualified_name(relation), changes);
    end if;
end
$$;

comment on function audit_internal.keep_out_of_statistics(regclass) is
    'Has ANALYZE look at no value of a table and its partitions but ids and times. Row-level security does not stand before statistics: EXPLAIN would tell a reader which values other organizations have.';

create or replace function audit_internal.partition_bounds()
returns table (partition regclass, begins timestamptz, ends timestamptz)
language sql
stable
set search_path = pg_catalog, pg_temp
-- (A zone's abbreviation, as other styles write it, may be read as another zone's.)
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

comment on function audit_internal.partition_bounds() is 'The partitions of audit.event with their bounds [begins, ends), without the default one.';

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

create or replace function audit_internal.adopt_default_partition()
returns void
language plpgsql
volatile
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

    -- Where it spans months that have a partition, its rows stay: they are read and forwarded all the same.
    if begins is null or audit_internal.overlaps_partition(begins, ends) then
        return;
    end if;

    partition_name := 'event_' || to_char(begins, 'YYYY_MM')
        || case when ends > begins + interval '1 month' then '_to_' || to_char(ends - interval '1 month', 'YYYY_MM') else '' end;
    -- Its protection does not end where nobody looks: it has another name in a moment.
    delete from audit.own_trigger where relation = 'audit.event_default'::regclass;
    -- No row is moved: the table itself changes its place.
    alter table audit.event detach partition audit.event_default;
    execute format('alter table audit.event_default rename to %I', partition_name);
    perform audit_internal.attach_partition(partition_name, begins, ends);
    create table audit.event_default partition of audit.event default;
    perform audit_internal.keep_out_of_statistics('audit.event_default');
    create trigger refuse_truncate
        before truncate on audit.event_default
        for each statement execute function audit_internal.refuse_change();
    comment on table audit.event_default is
        'Catches events of months that have no partition yet; audit.make_partitions() turns it into one.';
end
$$;

comment on function audit_internal.adopt_default_partition() is
    'Turns a default partition that holds rows into the partition of their months, and makes an empty one.';

create or replace function audit_internal.make_past_partitions(p_times timestamptz[])
returns integer
language plpgsql
volatile
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
            perform audit_internal.adopt_default_partition();
        end if;
        -- Where rows of that month are in the default partition, there they stay, and the others with them.
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

comment on function audit_internal.make_past_partitions(timestamptz[]) is 'Makes the partitions of the months of some times that are missing. How many it made.';

select audit_internal.keep_out_of_statistics('audit.event');
select audit_internal.keep_out_of_statistics('audit.org_grant');

-- Before anything is recorded, so that the default partition stays empty.
select audit.make_partitions();
