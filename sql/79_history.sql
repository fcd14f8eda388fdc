-- History elsewhere: what lies in an old month goes to another server, or to the nodes of Citus, and is read from there.
--
-- Such a month has two parts: <month>_history, a foreign table with the events of organizations to an id, and <month>_rest,
-- a table of this database with all else: events of no organization, and whatever the month gets late. So nothing is ever
-- inserted over there: two databases do not commit as one. Who reads audit.event reads both, and the planner leaves a part
-- out by its constraints.

create or replace function audit.history_server()
returns name
language sql
immutable
parallel safe
as $$
    select 'pgtrail_history'::name
$$;

comment on function audit.history_server() is 'What the foreign server is called that months are distributed to.';

create or replace function audit.history_columns()
returns text
language sql
stable
as $$
    select pg_catalog.string_agg(
        pg_catalog.format(
            '%I %s%s', attname, pg_catalog.format_type(atttypid, atttypmod), case when attnotnull then ' not null' else '' end
        ),
        ', ' order by attnum
    )
    from pg_catalog.pg_attribute
    where attrelid = 'audit.event'::pg_catalog.regclass and attnum > 0 and not attisdropped
$$;

comment on function audit.history_columns() is 'The columns of audit.event as a CREATE TABLE has them, without defaults.';

create or replace function audit.history_definition(remote_name text, access_method name default null)
returns setof text
language sql
stable
as $$
    -- (A unique key holds on the nodes of Citus only with the column that rows are distributed by.)
    select pg_catalog.format(
        'create table %s (%s, primary key (id, occurred_at, org_id))%s',
        remote_name, audit.history_columns(), coalesce(' using ' || pg_catalog.quote_ident(access_method), '')
    )
    union all
    select pg_catalog.format('create index on %s (%s)', remote_name, indexed.columns)
    from (
        values
            (1, 'occurred_at, id'),
            (2, 'org_id, occurred_at, id'),
            (3, 'resource_hash, occurred_at, id'),
            (4, 'actor_hash, occurred_at, id'),
            (5, 'category, action, occurred_at, id'),
            (6, 'xid')
    ) as indexed (place, columns)
$$;

comment on function audit.history_definition(text, name) is
    'The statements that make the table of a month on the other server: its name, quoted where need be, and how it is kept (null: as that server keeps tables). It has no trigger, foreign key, default or identity.';

create or replace function audit.newest_that_goes()
returns timestamptz
language sql
stable
set timezone = 'UTC'
as $$
    select pg_catalog.date_trunc('month', pg_catalog.now()) - interval '1 month'
$$;

comment on function audit.newest_that_goes() is 'When the month before the last one ended: this one and the last stay.';

create or replace function audit.reasons_to_stay(p_partition regclass, p_ends timestamptz)
returns text[]
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
    is_empty boolean;
    reasons text[];
begin
    if p_ends > audit.newest_that_goes() then
        return array['it is this month or the last'];
    end if;
    execute format('select not exists (select from %s where org_id is not null)', p_partition) into is_empty;
    if is_empty then
        return array['it has no event of an organization'];
    end if;
    select coalesce(array_agg(reason), '{}')
    into reasons
    from unnest(audit.reasons_to_keep(p_partition)) as reason
    -- (What is on hold may lie elsewhere: nothing goes.)
    where not starts_with(reason, 'legal hold ');
    return reasons;
end
$$;

comment on function audit.reasons_to_stay(regclass, timestamptz) is 'Why a month can''t be distributed yet; empty: it can.';

create or replace function audit.distribution_plan()
returns table (partition text, begins timestamptz, ends timestamptz, events bigint, server name, kept_because text[])
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
set timezone = 'UTC'
as $$
declare
    bounds record;
begin
    for bounds in
        select *
        from audit.partition_bounds() as known
        where known.ends <= audit.newest_that_goes()
        order by known.begins
    loop
        partition := audit.qualified_name(bounds.partition);
        begins := bounds.begins;
        ends := bounds.ends;
        select distributed.events, distributed.server
        into events, server
        from audit.distributed_month as distributed
        where distributed.partition = distribution_plan.partition and distributed.dropped_at is null;
        kept_because := '{}';
        if server is null then
            execute format('select count(*) from %s where org_id is not null', bounds.partition) into events;
            kept_because := audit.reasons_to_stay(bounds.partition, bounds.ends);
        end if;
        return next;
    end loop;
end
$$;

comment on function audit.distribution_plan() is
    'The months before the last one, the oldest first: how many events of organizations each has, on which server they lie (null: here), and kept_because: why they can''t be distributed yet; empty: they can.';

create or replace function audit.check_can_be_distributed(p_partition text)
returns void
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
    reasons text[];
begin
    if exists (select from audit.distributed_month where partition = p_partition) then
        reasons := array['it is already'];
    else
        select audit.reasons_to_stay(known.partition, known.ends)
        into reasons
        from audit.partition_bounds() as known
        where audit.qualified_name(known.partition) = p_partition;
    end if;
    if reasons is distinct from '{}' then
        raise exception using
            errcode = 'PT044',
            message = format(
                '%s can''t be distributed: %s', p_partition, coalesce(array_to_string(reasons, '; '), 'it is no month of the log')
            ),
            hint = 'pgtrail hub distribute --plan says what can be.';
    end if;
end
$$;

comment on function audit.check_can_be_distributed(text) is 'Raises PT044 unless a month can be distributed.';

create or replace function audit.part_keys()
returns void
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
set lock_timeout = '5s'
as $$
declare
    leaf regclass;
begin
    if audit.has_parted_keys() then
        return;
    end if;
    alter table audit.event drop constraint event_pkey;
    for leaf in select relid from pg_partition_tree('audit.event') where isleaf
    loop
        perform audit.own_key(leaf);
    end loop;
end
$$;

comment on function audit.part_keys() is
    'Takes the primary key of audit.event apart into one of each partition, so that it takes foreign tables. Once, and writers wait for as long as the indexes take.';

create or replace function audit.digest_of_rows(relation regclass, up_to_id bigint)
returns table (events bigint, first_id bigint, last_id bigint, last_xid xid8, digest text)
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
    return query execute format(
        $query$
            select
                count(*),
                min(event.id),
                max(event.id),
                max(event.xid::text::numeric)::text::xid8,
                concat_ws(' ', sum(hashtextextended(event::text, 0)::numeric), sum(hashtextextended(event::text, 1)::numeric))
            from (select %s from %s where org_id is not null and id <= $1) as event
        $query$,
        (
            select string_agg(quote_ident(attname), ', ' order by attnum)
            from pg_attribute
            where attrelid = 'audit.event'::regclass and attnum > 0 and not attisdropped
        ),
        relation
    )
    using up_to_id;
end
$$;

comment on function audit.digest_of_rows(regclass, bigint) is
    'Of the events of organizations to an id: how many, their lowest and highest id, their highest transaction, and a digest over all columns of each, whatever their order.';

create or replace function audit.distribute_month(p_partition text, p_remote_name text, p_up_to_id bigint)
returns bigint
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
set timezone = 'UTC'
-- Writers wait behind it: better to give up.
set lock_timeout = '5s'
as $$
declare
    remote text[] := parse_ident(p_remote_name);
    month_name text := split_part(p_partition, '.', 2);
    bounds record;
    here record;
    there record;
begin
    perform audit.check_can_be_distributed(p_partition);
    if not audit.has_parted_keys() then
        raise exception using
            errcode = 'PT044',
            message = 'audit.event has a primary key over all partitions, which takes no foreign table',
            hint = 'Take it apart first, in a transaction of its own: select audit.part_keys()';
    end if;
    select * into bounds from audit.partition_bounds() as known where known.partition = p_partition::regclass;
    -- No seal is made, and nobody is erased, until this is done.
    perform from audit.seal_head for update;
    select * into here from audit.digest_of_rows(p_partition::regclass, p_up_to_id);
    execute format(
        'create foreign table audit.%I (%s, constraint is_of_an_organization check (org_id is not null), '
        'constraint ids_lie_within check (id >= %s and id <= %s), constraint transactions_are_old check (xid <= %L)) '
        'server %I options (schema_name %L, table_name %L, truncatable ''false'')',
        month_name || '_history', audit.history_columns(), here.first_id, p_up_to_id, here.last_xid,
        audit.history_server(), remote[1], remote[2]
    );
    select * into there from audit.digest_of_rows(format('audit.%I', month_name || '_history')::regclass, p_up_to_id);
    if here is distinct from there then
        raise exception using
            errcode = 'PT044',
            message = format('what lies in %s is not what %s holds', p_remote_name, p_partition),
            hint = 'Somebody was erased, or wrote there, meanwhile: run pgtrail hub distribute again.';
    end if;

    -- Changes nothing, and takes the lock that LOCK TABLE gives only to who may update: nobody writes or reads until the end.
    alter table audit.event enable row level security;
    delete from audit.own_trigger where relation = p_partition::regclass;
    execute format('alter table audit.event detach partition %s', p_partition::regclass);
    execute format('alter table %s rename to %I', p_partition::regclass, month_name || '_whole');
    execute format(
        'create table audit.%I (like audit.event including defaults including constraints) '
        'partition by list ((org_id is not null and id <= %s))',
        month_name, p_up_to_id
    );
    execute format('create table audit.%I (like audit.event including defaults including constraints)', month_name || '_rest');
    execute format(
        'insert into audit.%I select * from audit.%I where (org_id is not null and id <= %s) is not true',
        month_name || '_rest', month_name || '_whole', p_up_to_id
    );
    execute format('drop table audit.%I', month_name || '_whole');
    execute format('alter table audit.%1$I attach partition audit.%2$I default', month_name, month_name || '_rest');
    execute format('alter table audit.%1$I attach partition audit.%2$I for values in (true)', month_name, month_name || '_history');
    perform audit.own_key(format('audit.%I', month_name || '_rest')::regclass);
    perform audit.protect_parts(month_name);
    perform audit.attach_partition(month_name, bounds.begins, bounds.ends);
    insert into audit.distributed_month (partition, ends, server, remote_name, events, first_id, last_id, last_xid)
    values (p_partition, bounds.ends, audit.history_server(), p_remote_name, here.events, here.first_id, p_up_to_id, here.last_xid);
    perform audit.keep_readers_here();
    perform audit.record(
        'audit.month_distributed', 'partition', p_partition, p_partition, null,
        jsonb_build_object('events', here.events, 'server', audit.history_server(), 'table', p_remote_name)
    );
    return here.events;
end
$$;

comment on function audit.distribute_month(text, text, bigint) is
    'Reads the events of organizations of a month (to an id) from a table of the server pgtrail_history from now on, where they lie already: it compares all of them, and nothing changes unless they are the same. How many. PT044; 55P03 where somebody uses the log for longer than 5 s.';

create or replace function audit.last_elsewhere()
returns timestamptz
language sql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
    select coalesce(max(ends), '-infinity') from audit.distributed_month
$$;

comment on function audit.last_elsewhere() is 'When the last of the months ended that lie elsewhere; -infinity: none does.';

create or replace function audit.readable_from()
returns timestamptz
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
    select case
        when pg_has_role('audit_auditor', 'usage') or pg_has_role('audit_admin', 'usage') or pg_has_role('audit_forwarder', 'usage')
            then '-infinity'
        else audit.last_elsewhere()
    end
$$;

comment on function audit.readable_from() is
    'From when on the present role reads events: what lies elsewhere is for roles that see every organization.';

create or replace function audit.keep_readers_here()
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
begin
    -- Conditions are sent along to a foreign table, whatever row-level security says, and one that fails there for somebody
    -- else's row tells of it. So whoever does not see every organization is not let in: this leaves those months out of a
    -- plan, and where somebody gets around that, there is no user mapping for them.
    if not exists (select from pg_policy where polrelid = 'audit.event'::regclass and polname = 'months_that_are_here') then
        create policy months_that_are_here on audit.event
            as restrictive
            for select to audit_reader, audit_org_reader
            using (occurred_at >= audit.readable_from());
    end if;
end
$$;

comment on function audit.keep_readers_here() is
    'Has roles that do not see every organization read the months that are in this database, and no others.';

create or replace function audit.history_readers()
returns setof name
language sql
stable
as $$
    select rolname
    from pg_catalog.pg_roles
    where rolname = 'audit_owner'
        or pg_catalog.pg_has_role(pg_roles.oid, 'audit_auditor', 'usage')
        or pg_catalog.pg_has_role(pg_roles.oid, 'audit_admin', 'usage')
        or pg_catalog.pg_has_role(pg_roles.oid, 'audit_forwarder', 'usage')
$$;

comment on function audit.history_readers() is
    'The roles that may read what lies elsewhere, each by a user mapping of its own: audit_owner, and those that see every organization.';

create or replace function audit.protect_parts(month_name text)
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
begin
    execute format(
        'create trigger refuse_truncate before truncate on audit.%I for each statement execute function audit.refuse_change()',
        month_name || '_rest'
    );
    execute format('revoke insert, update, delete, truncate on audit.%I from audit_owner', month_name || '_history');
    execute format('comment on foreign table audit.%I is %L', month_name || '_history', 'The events of organizations of the month, elsewhere.');
    execute format(
        'comment on table audit.%I is %L', month_name || '_rest',
        'The events of no organization of the month, and those that came after it was distributed.'
    );
end
$$;

comment on function audit.protect_parts(text) is 'Protects the parts of a month that is distributed, as every month is.';

create or replace function audit.gather_month(p_partition text)
returns bigint
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
set timezone = 'UTC'
set lock_timeout = '5s'
as $$
declare
    month_name text := split_part(p_partition, '.', 2);
    distributed audit.distributed_month;
    bounds record;
    gathered record;
begin
    select * into distributed from audit.distributed_month where partition = p_partition and dropped_at is null;
    if not found then
        raise exception using
            errcode = 'PT044',
            message = format('%s is not distributed', p_partition),
            hint = 'pgtrail hub distribute --plan says which months are.';
    end if;
    perform from audit.seal_head for update;
    alter table audit.event enable row level security;
    select * into bounds from audit.partition_bounds() as known where known.partition = p_partition::regclass;
    execute format('create table audit.%I (like audit.event including defaults including constraints)', month_name || '_whole');
    execute format('insert into audit.%I select * from %s', month_name || '_whole', p_partition::regclass);
    select * into gathered from audit.digest_of_rows(format('audit.%I', month_name || '_whole')::regclass, distributed.last_id);
    if gathered.events <> distributed.events then
        raise exception using
            errcode = 'PT044',
            message = format('%s of the %s events of %s are where they should be', gathered.events, distributed.events, p_partition),
            hint = 'Somebody meddled there: pgtrail verify says what is missing.';
    end if;
    delete from audit.own_trigger
    where relation in (select relid from pg_partition_tree(p_partition::regclass));
    execute format('alter table audit.event detach partition %s', p_partition::regclass);
    execute format('drop table %s', p_partition::regclass);
    execute format('alter table audit.%I rename to %I', month_name || '_whole', month_name);
    perform audit.attach_partition(month_name, bounds.begins, bounds.ends);
    delete from audit.distributed_month where partition = p_partition;
    perform audit.record(
        'audit.month_gathered', 'partition', p_partition, p_partition, null,
        jsonb_build_object('events', distributed.events, 'server', distributed.server, 'table', distributed.remote_name)
    );
    return distributed.events;
end
$$;

comment on function audit.gather_month(text) is
    'Takes audit.distribute_month() back: the events are in this database again. The table over there stays, and nothing reads it. How many events. PT044; 55P03.';

create or replace function audit.sweep_history()
returns integer
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    swept audit.distributed_month;
    history text;
    emptied integer := 0;
begin
    for swept in select * from audit.distributed_month where dropped_at is not null for update skip locked
    loop
        history := format('audit.%I', split_part(swept.partition, '.', 2) || '_history');
        -- Apart from dropping the month: whatever fails between the two, a second time does no harm.
        execute format('grant truncate on %s to audit_owner', history);
        execute format('alter foreign table %s options (set truncatable ''true'')', history);
        execute format('truncate %s', history);
        execute format('drop foreign table %s', history);
        delete from audit.distributed_month where partition = swept.partition;
        emptied := emptied + 1;
    end loop;
    return emptied;
end
$$;

comment on function audit.sweep_history() is
    'Empties the tables over there of months that retention has dropped. How many. `pgtrail retention run` and the worker call it.';
