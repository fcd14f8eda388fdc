-- Which organization a row belongs to: a column of its own, or a way through other tables.

create or replace function audit.short_org(org_id text)
returns text
language sql
immutable
parallel safe
as $$
    -- An entry of a B-tree has room for a third of a page, 2,704 bytes; one that has not fails the write.
    select case
        when pg_catalog.octet_length(org_id) <= 1000 then org_id
        else pg_catalog.left(org_id, 64) || '… sha256:'
            || pg_catalog.encode(pg_catalog.sha256(pg_catalog.convert_to(org_id, 'UTF8')), 'hex')
    end
$$;

comment on function audit.short_org(text) is
    'An organization''s id as events have it: one longer than 1,000 bytes is cut and told apart by its digest.';

-- From what a person writes to steps ---------------------------------------------------------------------------------

create or replace function audit.is_way(relation regclass, org text)
returns boolean
language sql
stable
as $$
    -- A column may be called anything, so its name comes first.
    select org <> all (audit.column_names(relation)) and org ~ '->|,'
$$;

comment on function audit.is_way(regclass, text) is
    'Whether org is a way to the organization through other tables, not the name of a column.';

create or replace function audit.split_unquoted(value text, separator text)
returns table (part text, number bigint)
language sql
immutable
as $$
    select pg_catalog.btrim(split.part, E' \t\r\n'), split.number
    from pg_catalog.regexp_split_to_table(value, separator || '(?=(?:[^"]*"[^"]*")*[^"]*$)')
        with ordinality as split (part, number)
$$;

comment on function audit.split_unquoted(text, text) is
    'The parts of a text between separators (a regular expression) that stand outside double quotes.';

create or replace function audit.column_number(relation regclass, written text)
returns smallint
language sql
stable
as $$
    select attnum
    from pg_catalog.pg_attribute
    where attrelid = relation
        and attnum > 0
        and not attisdropped
        and (attname = written or written = pg_catalog.quote_ident(attname) or attname = pg_catalog.lower(written))
    order by attname = written desc
    limit 1
$$;

comment on function audit.column_number(regclass, text) is
    'The number of the column that is written so: as it is, quoted or, as in SQL, in any case. Null: there is none.';

create or replace function audit.refuse_way(org text, reason text, mend text)
returns void
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
begin
    raise exception using
        errcode = 'PT033',
        message = format('org => ''%s'' leads to no organization: %s', left(org, 200), reason),
        hint = mend;
end
$$;

comment on function audit.refuse_way(text, text, text) is 'Raises PT033.';

create or replace function audit.named_table(names text[], relation regclass)
returns regclass
language sql
stable
as $$
    -- Not by to_regclass(): audit_owner may have no USAGE on the schema yet.
    select pg_class.oid
    from pg_catalog.pg_class
    join pg_catalog.pg_namespace on pg_namespace.oid = pg_class.relnamespace
    where pg_class.relname = names[pg_catalog.cardinality(names) - 1]
        and case pg_catalog.cardinality(names)
            when 3 then pg_namespace.nspname = names[1]
            else pg_namespace.oid = (select relnamespace from pg_catalog.pg_class where oid = relation)
        end
$$;

comment on function audit.named_table(text[], regclass) is
    'The table of a step, by the parts of its name (schema, table, column; without a schema it is that of relation). Null: there is none.';

create or replace function audit.step_table(org text, step text, relation regclass)
returns regclass
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
    names text[];
    found_table regclass;
begin
    begin
        names := parse_ident(step);
    exception
        when invalid_parameter_value then
            null;
    end;
    if coalesce(cardinality(names), 0) not in (2, 3) then
        perform audit.refuse_way(
            org, format('"%s" is no column of a table', step),
            'Write column -> table.column, such as: team_id -> public.team.org_id'
        );
    end if;
    found_table := audit.named_table(names, relation);
    if found_table is null then
        perform audit.refuse_way(
            org, format('there is no table of "%s"', step), 'A table without a schema is looked for in that of the tracked one.'
        );
    end if;
    if (select relkind not in ('r', 'p') or relpersistence = 't' from pg_class where oid = found_table) then
        perform audit.refuse_way(org, format('%s is not a table', found_table), 'Name the table that it reads.');
    end if;
    return found_table;
end
$$;

comment on function audit.step_table(text, text, regclass) is
    'The table that a step of a way (schema.table.column, or table.column in the schema of the tracked table) names. PT033.';

create or replace function audit.joined_column(from_table regclass, from_column smallint, to_table regclass)
returns smallint
language sql
stable
as $$
    select coalesce(
        (
            select foreign_key.confkey[1]
            from pg_catalog.pg_constraint as foreign_key
            where foreign_key.conrelid = from_table
                and foreign_key.confrelid = to_table
                and foreign_key.contype = 'f'
                and foreign_key.conkey = array[from_column]
            order by foreign_key.oid
            limit 1
        ),
        (
            select primary_key.conkey[1]
            from pg_catalog.pg_constraint as primary_key
            where primary_key.conrelid = to_table
                and primary_key.contype = 'p'
                and pg_catalog.cardinality(primary_key.conkey) = 1
        )
    )
$$;

comment on function audit.joined_column(regclass, smallint, regclass) is
    'The column of to_table that a column of from_table refers to: by its foreign key, else the primary key, if that is one column.';

create or replace function audit.can_join(from_table regclass, from_column smallint, to_table regclass, to_column smallint)
returns boolean
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
    referring oid := (select atttypid from pg_attribute where attrelid = from_table and attnum = from_column);
    referred oid := (select atttypid from pg_attribute where attrelid = to_table and attnum = to_column);
begin
    -- What compares them runs as audit_owner.
    if referring is null or referred is null or not (audit.is_trusted_type(referring) and audit.is_trusted_type(referred)) then
        return false;
    end if;
    execute format('select null::%s = null::%s', format_type(referring, null), format_type(referred, null));
    return true;
exception
    when undefined_function or ambiguous_function then
        return false;
end
$$;

comment on function audit.can_join(regclass, smallint, regclass, smallint) is
    'Whether two columns can be compared by Postgres'' own operators.';

create or replace function audit.check_join(org text, from_table regclass, from_column smallint, to_table regclass, to_column smallint)
returns void
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
    if audit.can_join(from_table, from_column, to_table, to_column) then
        return;
    end if;
    perform audit.refuse_way(
        org,
        (
            select format(
                '%I is %s and %s.%I is %s',
                referring.attname, format_type(referring.atttypid, null),
                to_table, referred.attname, format_type(referred.atttypid, null)
            )
            from pg_attribute as referring
            join pg_attribute as referred on referred.attrelid = to_table and referred.attnum = to_column
            where referring.attrelid = from_table and referring.attnum = from_column
        ),
        'The two must be of types that Postgres itself can compare.'
    );
end
$$;

comment on function audit.check_join(text, regclass, smallint, regclass, smallint) is
    'Raises PT033 unless the columns can be compared by Postgres'' own operators.';

create or replace function audit.acting_role()
returns name
language sql
stable
as $$
    -- Not audit_owner, as which definers run, but the role that was set, or else that logged in.
    select coalesce(nullif(pg_catalog.current_setting('role', true), 'none'), session_user::text)::name
$$;

comment on function audit.acting_role() is 'Who calls, behind all definers.';

create or replace function audit.may_read(relation regclass, column_number smallint)
returns boolean
language sql
stable
as $$
    select pg_catalog.has_column_privilege(audit.acting_role(), relation, column_number, 'select')
        -- Nor a row that row-level security would hide.
        and (
            not pg_class.relrowsecurity
            or pg_catalog.pg_has_role(audit.acting_role(), pg_class.relowner, 'usage')
            or exists (select from pg_catalog.pg_roles where rolname = audit.acting_role() and (rolsuper or rolbypassrls))
        )
    from pg_catalog.pg_class
    where pg_class.oid = relation
$$;

comment on function audit.may_read(regclass, smallint) is 'Whether the caller, behind all definers, may read a column of every row.';

create or replace function audit.is_redacted(relation regclass, column_number smallint)
returns boolean
language sql
stable
as $$
    select audit.looks_secret(attname, atttypid) or exists (
        select from audit.tracked_table as tracked where tracked.relation = attrelid and attname = any (tracked.secret)
    )
    from pg_catalog.pg_attribute
    where attrelid = relation and attnum = column_number
$$;

comment on function audit.is_redacted(regclass, smallint) is
    'Whether a column is one that the log redacts, or would: no organization''s id.';

create or replace function audit.check_column_number(org text, tracked_relation regclass, relation regclass, written text)
returns smallint
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
    number smallint := audit.column_number(relation, written);
begin
    if number is null then
        perform audit.refuse_way(
            org, format('%s has no column "%s"', relation, written),
            format('Its columns are %s.', array_to_string(audit.column_names(relation), ', '))
        );
    end if;
    if relation <> tracked_relation and not audit.may_read(relation, number) then
        perform audit.refuse_way(
            org, format('you may not read %s of %s', written, relation), 'Let the owner of that table, or a superuser, do it.'
        );
    end if;
    return number;
end
$$;

comment on function audit.check_column_number(text, regclass, regclass, text) is
    'The number of a column that whoever asks may read, or PT033.';

create or replace function audit.org_steps(tracked_relation regclass, org text)
returns setof audit.org_step
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_variable
declare
    way record;
    step record;
    taken audit.org_step;
    previous audit.org_step;
    last_column text;
begin
    for way in select part, number from audit.split_unquoted(org, ',') loop
        for step in
            select part, number - 1 as number, number = max(number) over () as is_last
            from audit.split_unquoted(way.part, '->')
        loop
            previous := taken;
            taken.relation := tracked_relation;
            taken.alternative := way.number;
            taken.position := step.number;
            if step.number = 0 then
                taken.place := tracked_relation;
                taken.key_number := null;
                taken.column_number := audit.check_column_number(org, tracked_relation, tracked_relation, step.part);
            else
                taken.place := audit.step_table(org, step.part, tracked_relation);
                taken.key_number := audit.joined_column(previous.place, previous.column_number, taken.place);
                if taken.key_number is null then
                    perform audit.refuse_way(
                        org,
                        format('no foreign key leads to %s, and its primary key is not one column', taken.place),
                        'Add the foreign key, or go another way.'
                    );
                end if;
                if not audit.may_read(taken.place, taken.key_number) then
                    perform audit.refuse_way(
                        org, format('you may not read the key of %s', taken.place), 'Let the owner of that table, or a superuser, do it.'
                    );
                end if;
                perform audit.check_join(org, previous.place, previous.column_number, taken.place, taken.key_number);
                select name into last_column
                from unnest(parse_ident(step.part)) with ordinality as part (name, position)
                order by position desc
                limit 1;
                taken.column_number := audit.check_column_number(org, tracked_relation, taken.place, last_column);
                if step.is_last and audit.is_redacted(taken.place, taken.column_number) then
                    perform audit.refuse_way(org, format('%s is a secret', step.part), 'Name the column that holds the organization.');
                end if;
            end if;
            return next taken;
        end loop;
    end loop;
end
$$;

comment on function audit.org_steps(regclass, text) is
    'The steps of a way: alternatives between commas, each column -> table.column [-> table.column …], names as in SQL. PT033.';

create or replace function audit.written_steps(steps audit.org_step[])
returns text
language sql
stable
as $$
    select pg_catalog.string_agg(way.written, ', ' order by way.alternative)
    from (
        select
            step.alternative,
            pg_catalog.string_agg(
                case when step.position > 0 then audit.qualified_name(step.place) || '.' else '' end
                    || pg_catalog.quote_ident(attribute.attname),
                ' -> ' order by step.position
            ) as written
        from pg_catalog.unnest(steps) as step
        join pg_catalog.pg_attribute as attribute
            on attribute.attrelid = step.place and attribute.attnum = step.column_number
        group by step.alternative
    ) as way
$$;

comment on function audit.written_steps(audit.org_step[]) is
    'Ways as audit.track() takes them, with the names of today: one text however they were given. Null: none.';

create or replace function audit.written_way(tracked_relation regclass, org text)
returns text
language sql
stable
security definer
set search_path = pg_catalog, pg_temp
set quote_all_identifiers = off
set standard_conforming_strings = on
as $$
    select audit.written_steps(array(select step from audit.org_steps(tracked_relation, org) as step))
$$;

comment on function audit.written_way(regclass, text) is 'A way written the one way that it is kept in. PT033.';

create or replace function audit.take_way(tracked_relation regclass, org text)
returns void
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
set quote_all_identifiers = off
set standard_conforming_strings = on
as $$
begin
    -- (Here current_user is audit_owner, whoever asks.)
    perform audit.check_is_not_own(tracked_relation, audit.acting_role());
    delete from audit.org_step where relation = tracked_relation;
    if audit.is_way(tracked_relation, org) then
        insert into audit.org_step select step.* from audit.org_steps(tracked_relation, org) as step;
    end if;
end
$$;

comment on function audit.take_way(regclass, text) is
    'Keeps the steps by which a tracked table''s organization is found; none where org is a column. PT033, PT039.';

create or replace function audit.settle_org(tracked_relation regclass)
returns text
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
begin
    -- Of a way that has lost a table or a column nothing is left.
    delete from audit.org_step as gone
    where gone.relation = tracked_relation
        and gone.alternative in (
            select step.alternative
            from audit.org_step as step
            cross join lateral unnest(array[step.key_number, step.column_number]) as needed (number)
            left join pg_attribute on attrelid = step.place and attnum = needed.number and not attisdropped
            where step.relation = tracked_relation and needed.number is not null and attname is null
            union
            select step.alternative
            from audit.org_step as step
            join audit.org_step as before using (relation, alternative)
            where relation = tracked_relation
                and before.position = step.position - 1
                and not audit.can_join(before.place, before.column_number, step.place, step.key_number)
            union
            -- What can't be read, or not all of it.
            select step.alternative
            from audit.org_step as step
            join pg_class on pg_class.oid = step.place
            where step.relation = tracked_relation
                and step.position > 0
                and (
                    not coalesce(has_table_privilege(audit.recorder_of(step.place), step.place, 'select'), false)
                    or (pg_class.relrowsecurity and not audit.shows_every_row(step.place, audit.recorder_of(step.place)))
                )
        );
    if found then
        raise warning 'pgtrail: a way from % to its organization is no more', tracked_relation
            using hint = 'What it led through was dropped, became of another type, or can''t be read any more. Call audit.track() with another org if need be.';
    end if;
    return audit.written_steps(array(select step from audit.org_step as step where relation = tracked_relation));
end
$$;

comment on function audit.settle_org(regclass) is
    'Forgets the ways of a tracked table that lead nowhere any more; those that are left, as audit.written_steps() has them.';

create or replace function audit.takes_a_way(tracked_relation regclass)
returns boolean
language sql
stable
as $$
    select exists (select from audit.org_step where relation = tracked_relation)
$$;

comment on function audit.takes_a_way(regclass) is 'Whether a tracked table''s organization is found by steps.';

create or replace function audit.passed_through(relation regclass)
returns setof regclass
language sql
stable
as $$
    select distinct step.relation
    from audit.org_step as step
    where step.place = passed_through.relation and step.position > 0
$$;

comment on function audit.passed_through(regclass) is 'The tracked tables whose way to their organization leads through a table.';

-- From steps to SQL --------------------------------------------------------------------------------------------------

create or replace function audit.compiled_org_column(relation regclass, row_name text, column_name text)
returns text
language sql
stable
as $$
    select pg_catalog.concat(
        case when type.typlen > 0 then '' else 'audit.short_org' end, '(', row_name, '.', pg_catalog.quote_ident(column_name), '::text)'
    )
    from pg_catalog.pg_attribute as attribute
    join pg_catalog.pg_type as type on type.oid = attribute.atttypid
    where attribute.attrelid = relation and attribute.attname = column_name
$$;

comment on function audit.compiled_org_column(regclass, text, text) is 'SQL for the organization that a column holds; null: there is no such column.';

create or replace function audit.lookups(tracked_relation regclass)
returns table (
    alternative smallint, "position" smallint, place regclass, key_name text, column_name text, key_type text, function_name text
)
language sql
stable
as $$
    select
        step.alternative,
        step.position,
        step.place,
        key_column.attname::text,
        read_column.attname::text,
        audit.plain_type(referring.atttypid),
        case when step.position > 0 then audit.compiled_name(
            'find',
            pg_catalog.format('%s.%I by %I ', audit.qualified_name(step.place), read_column.attname, key_column.attname)
                || audit.plain_type(referring.atttypid)
        ) end
    from audit.org_step as step
    join pg_catalog.pg_attribute as read_column
        on read_column.attrelid = step.place and read_column.attnum = step.column_number
    left join pg_catalog.pg_attribute as key_column
        on key_column.attrelid = step.place and key_column.attnum = step.key_number
    left join audit.org_step as before
        on before.relation = step.relation and before.alternative = step.alternative and before.position = step.position - 1
    left join pg_catalog.pg_attribute as referring
        on referring.attrelid = before.place and referring.attnum = before.column_number
    where step.relation = tracked_relation
$$;

comment on function audit.lookups(regclass) is
    'The steps to a tracked table''s organization with the names of their columns, and of the function that takes each but the first; key_type: of what is looked for.';

create or replace function audit.create_lookups(tracked_relation regclass, recorder name)
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
    step record;
begin
    for step in select * from audit.lookups(tracked_relation) as lookup where lookup.position > 0
    loop
        perform audit.create_compiled(
            step.function_name, 'key text', 'text', '{row_security=on}',
            concat(
                E'declare\n    found_value text;\n    is_read boolean;\nbegin\n',
                audit.compiled_sandbox(
                    concat(
                        format('select stored.%I::text into found_value from ', step.column_name),
                        -- Of an ordinary table its own rows: only they are held unique by its key.
                        (select case when relkind = 'r' then 'only ' end from pg_class where pg_class.oid = step.place),
                        audit.qualified_name(step.place),
                        format(' as stored where stored.%I = $1::', step.key_name), step.key_type, ' limit 1;'
                    ),
                    -- It costs no write.
                    'return null;'
                ),
                E'    return found_value;\nend\n'
            ),
            audit.assign_recorder(step.place),
            format('Finds a value of %s by a key. Compiled.', audit.qualified_name(step.place))
        );
        execute format('grant execute on function audit.%I(text) to %I', step.function_name, recorder);
    end loop;
end
$$;

comment on function audit.create_lookups(regclass, name) is
    'Makes the functions that find a value in a table on the way to an organization by a key; whoever records the tracked table may call them.';

create or replace function audit.compiled_way(tracked_relation regclass, way_alternative smallint, row_name text)
returns text
language sql
stable
as $$
    select pg_catalog.concat(
        'audit.short_org(',
        (
            select pg_catalog.string_agg(pg_catalog.format('audit.%I(', lookup.function_name), '' order by lookup.position desc)
            from audit.lookups(tracked_relation) as lookup
            where lookup.alternative = way_alternative and lookup.position > 0
        ),
        (
            select pg_catalog.concat(row_name, '.', pg_catalog.quote_ident(lookup.column_name), '::text')
            from audit.lookups(tracked_relation) as lookup
            where lookup.alternative = way_alternative and lookup.position = 0
        ),
        pg_catalog.repeat(')', (
            select count(*)::integer from audit.lookups(tracked_relation) as lookup where lookup.alternative = way_alternative
        ))
    )
$$;

comment on function audit.compiled_way(regclass, smallint, text) is
    'SQL for the organization at the end of one way, null where the way breaks off.';

create or replace function audit.last_org(of_type text, of_id text)
returns text
language sql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
    select event.org_id
    from audit.event
    where event.resource_hash = pg_catalog.hashtextextended(of_id, 0)
        and event.resource_id = of_id
        and event.resource_type = of_type
    order by event.occurred_at desc, event.id desc
    limit 1
$$;

comment on function audit.last_org(text, text) is
    'The organization of a resource''s newest event: of a row that goes with what its way led through, which is gone already.';

create or replace function audit.compiled_org(tracked audit.tracked_table, row_name text, row_operation text)
returns text
language sql
stable
as $$
    select case
        when audit.takes_a_way(tracked.relation) then pg_catalog.format(
            E'coalesce(\n        %s\n    )',
            pg_catalog.concat_ws(
                E',\n        ',
                (
                    select pg_catalog.string_agg(
                        audit.compiled_way(tracked.relation, alternative, row_name), E',\n        ' order by alternative
                    )
                    from audit.org_step
                    where relation = tracked.relation and position = 0
                ),
                case
                    when row_operation <> 'INSERT' then pg_catalog.format(
                        'audit.last_org(%L, %s)', tracked.resource, audit.compiled_resource_id(tracked, row_name)
                    )
                end
            )
        )
        else coalesce(audit.compiled_org_column(tracked.relation, row_name, tracked.org), 'null')
    end
$$;

comment on function audit.compiled_org(audit.tracked_table, text, text) is 'SQL for the organization of a row.';

drop function if exists audit.compiled_org(audit.tracked_table, text);
