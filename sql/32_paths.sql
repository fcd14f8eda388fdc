-- Which organization a row belongs to and what it is called: a column of its own, or a path through other tables.

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

create or replace function audit.is_path(relation regclass, written text)
returns boolean
language sql
stable
as $$
    -- A column may be called anything, so its name comes first.
    select written <> all (audit.column_names(relation)) and written ~ '->|[,+]'
$$;

comment on function audit.is_path(regclass, text) is
    'Whether the organization or the label of a table is written as a path through other tables, or as several; not as the name of a column.';

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
        and (attname = written or written = pg_catalog.quote_ident(attname) or attname = pg_catalog.lower(written collate "C"))
    order by attname = written desc
    limit 1
$$;

comment on function audit.column_number(regclass, text) is
    'The number of the column that is written so: as it is, quoted or, as in SQL, in any case. Null: there is none.';

create or replace function audit.refuse_path(argument text, reason text, hint text)
returns void
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
begin
    raise exception using errcode = 'PT033', message = format('%s leads nowhere: %s', argument, reason), hint = hint;
end
$$;

comment on function audit.refuse_path(text, text, text) is
    'Raises PT033. argument: as it was given, such as: org => ''team_id -> public.team.org_id''';

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

create or replace function audit.step_table(argument text, step text, relation regclass)
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
        perform audit.refuse_path(
            argument, format('"%s" is no column of a table', step),
            'Write column -> table.column, such as: team_id -> public.team.org_id'
        );
    end if;
    found_table := audit.named_table(names, relation);
    if found_table is null then
        perform audit.refuse_path(
            argument, format('there is no table of "%s"', step), 'A table without a schema is looked for in that of the tracked one.'
        );
    end if;
    if (select relkind not in ('r', 'p') or relpersistence = 't' from pg_class where oid = found_table) then
        perform audit.refuse_path(argument, format('%s is not a table', found_table), 'Name the table that it reads.');
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

create or replace function audit.check_join(argument text, from_table regclass, from_column smallint, to_table regclass, to_column smallint)
returns void
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
    if audit.can_join(from_table, from_column, to_table, to_column) then
        return;
    end if;
    perform audit.refuse_path(
        argument,
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

create or replace function audit.may_read(relation regclass, column_number smallint)
returns boolean
language sql
stable
as $$
    select pg_catalog.has_column_privilege(audit.database_actor_id()::name, relation, column_number, 'select')
        -- Nor a row that row-level security would hide.
        and (
            not pg_class.relrowsecurity
            or pg_catalog.pg_has_role(audit.database_actor_id()::name, pg_class.relowner, 'usage')
            or exists (select from pg_catalog.pg_roles where rolname = audit.database_actor_id() and (rolsuper or rolbypassrls))
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

create or replace function audit.check_column_number(argument text, tracked_relation regclass, relation regclass, written text)
returns smallint
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
    number smallint := audit.column_number(relation, written);
begin
    if number is null then
        perform audit.refuse_path(
            argument, format('%s has no column "%s"', relation, written),
            format('Its columns are %s.', array_to_string(audit.column_names(relation), ', '))
        );
    end if;
    if relation <> tracked_relation and not audit.may_read(relation, number) then
        perform audit.refuse_path(
            argument, format('you may not read %s of %s', written, relation), 'Let the owner of that table, or a superuser, do it.'
        );
    end if;
    return number;
end
$$;

comment on function audit.check_column_number(text, regclass, regclass, text) is
    'The number of a column that whoever asks may read, or PT033.';

create or replace function audit.parsed_path(tracked_relation regclass, purpose text, written text)
returns setof audit.path_step
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_variable
declare
    argument constant text := format('%s => ''%s''', purpose, left(written, 200));
    branch record;
    step record;
    taken audit.path_step;
    previous audit.path_step;
    last_column text;
begin
    taken.relation := tracked_relation;
    taken.purpose := purpose;
    for branch in select part, number from audit.split_unquoted(written, case purpose when 'label' then '[+]' else ',' end) loop
        taken.branch := branch.number;
        for step in
            select part, number - 1 as number, number = max(number) over () as is_last
            from audit.split_unquoted(branch.part, '->')
        loop
            previous := taken;
            taken.position := step.number;
            if step.number = 0 then
                taken.place := tracked_relation;
                taken.key_number := null;
                taken.column_number := audit.check_column_number(argument, tracked_relation, tracked_relation, step.part);
                perform audit.check_stored_column(
                    tracked_relation, (select attname from pg_attribute where attrelid = tracked_relation and attnum = taken.column_number), argument
                );
            else
                taken.place := audit.step_table(argument, step.part, tracked_relation);
                taken.key_number := audit.joined_column(previous.place, previous.column_number, taken.place);
                if taken.key_number is null then
                    perform audit.refuse_path(
                        argument,
                        format('no foreign key leads to %s, and its primary key is not one column', taken.place),
                        'Add the foreign key, or take another path.'
                    );
                end if;
                if not audit.may_read(taken.place, taken.key_number) then
                    perform audit.refuse_path(
                        argument, format('you may not read the key of %s', taken.place), 'Let the owner of that table, or a superuser, do it.'
                    );
                end if;
                perform audit.check_join(argument, previous.place, previous.column_number, taken.place, taken.key_number);
                select name into last_column
                from unnest(parse_ident(step.part)) with ordinality as part (name, position)
                order by position desc
                limit 1;
                taken.column_number := audit.check_column_number(argument, tracked_relation, taken.place, last_column);
                if step.is_last and audit.is_redacted(taken.place, taken.column_number) then
                    perform audit.refuse_path(argument, format('%s is a secret', step.part), 'Name a column that may be shown.');
                end if;
            end if;
            return next taken;
        end loop;
    end loop;
end
$$;

comment on function audit.parsed_path(regclass, text, text) is
    'The steps of the paths to a table''s organization (alternatives between commas) or label (parts between plus signs): each column -> table.column [-> table.column …], names as in SQL. PT033.';

create or replace function audit.written_steps(steps audit.path_step[])
returns text
language sql
stable
as $$
    select pg_catalog.string_agg(branch.written, case branch.purpose when 'label' then ' + ' else ', ' end order by branch.number)
    from (
        select
            step.purpose,
            step.branch as number,
            pg_catalog.string_agg(
                case when step.position > 0 then audit.qualified_name(step.place) || '.' else '' end
                    || pg_catalog.quote_ident(attribute.attname),
                ' -> ' order by step.position
            ) as written
        from pg_catalog.unnest(steps) as step
        join pg_catalog.pg_attribute as attribute
            on attribute.attrelid = step.place and attribute.attnum = step.column_number
        group by step.purpose, step.branch
    ) as branch
    group by branch.purpose
$$;

comment on function audit.written_steps(audit.path_step[]) is
    'Paths of one purpose as audit.track() takes them, with the names of today: one text however they were given. Null: none.';

create or replace function audit.written_path(tracked_relation regclass, purpose text, written text)
returns text
language sql
stable
security definer
set search_path = pg_catalog, pg_temp
set quote_all_identifiers = off
set standard_conforming_strings = on
as $$
    select audit.written_steps(array(select step from audit.parsed_path(tracked_relation, purpose, written) as step))
$$;

comment on function audit.written_path(regclass, text, text) is 'A path in the one form that is kept. PT033.';

create or replace function audit.present_steps()
returns setof audit.path_step
language sql
stable
as $$
    select
        step.relation,
        step.purpose,
        step.branch,
        step.position,
        step.place,
        case
            when step.place_oid = step.place or step.key_number is null then step.key_number
            else coalesce((select attnum from pg_catalog.pg_attribute where attrelid = step.place and attname = step.key_name), 0::smallint)
        end,
        case
            when step.place_oid = step.place then step.column_number
            else coalesce((select attnum from pg_catalog.pg_attribute where attrelid = step.place and attname = step.column_name), 0::smallint)
        end,
        step.place_oid,
        step.key_name,
        step.column_name
    from audit.path_step as step
$$;

comment on function audit.present_steps() is
    'audit.path_step with the numbers that the columns have today: after a restore, by their names; 0 for a column that is not there.';

create or replace function audit.number_steps(tracked_relation regclass)
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
begin
    update audit.path_step as step
    set key_number = present.key_number, column_number = present.column_number
    from audit.present_steps() as present
    where step.relation = tracked_relation
        and step.place_oid is distinct from step.place
        and (present.relation, present.purpose, present.branch, present.position) = (step.relation, step.purpose, step.branch, step.position);
    update audit.path_step as step
    set
        place_oid = step.place,
        key_name = (select attname from pg_attribute where attrelid = step.place and attnum = step.key_number),
        column_name = (select attname from pg_attribute where attrelid = step.place and attnum = step.column_number)
    where step.relation = tracked_relation;
end
$$;

comment on function audit.number_steps(regclass) is
    'Brings the numbers of the columns on a tracked table''s paths up to date after a restore, and their names after renames.';

create or replace function audit.store_paths(tracked_relation regclass, org text, label text)
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
    perform audit.check_is_not_own(tracked_relation, audit.database_actor_id()::name);
    delete from audit.path_step where relation = tracked_relation;
    insert into audit.path_step
    select step.*
    from (values ('org', org), ('label', label)) as given (purpose, written)
    cross join lateral audit.parsed_path(tracked_relation, given.purpose, given.written) as step
    where audit.is_path(tracked_relation, given.written);
    update audit.path_step as step set place_oid = step.place where step.relation = tracked_relation;
    perform audit.number_steps(tracked_relation);
end
$$;

comment on function audit.store_paths(regclass, text, text) is
    'Stores the steps by which a tracked table''s organization and label are found, in place of what was stored; none where they are columns. PT033, PT039.';

create or replace function audit.settled_path(tracked_relation regclass, of_purpose text)
returns text
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
begin
    perform audit.number_steps(tracked_relation);
    -- Of a path that has lost a table or a column nothing is left.
    delete from audit.path_step as gone
    where gone.relation = tracked_relation
        and gone.purpose = of_purpose
        and gone.branch in (
            select step.branch
            from audit.path_step as step
            cross join lateral unnest(array[step.key_number, step.column_number]) as needed (number)
            left join pg_attribute on attrelid = step.place and attnum = needed.number and not attisdropped
            where step.relation = tracked_relation and step.purpose = of_purpose and needed.number is not null and attname is null
            union
            select step.branch
            from audit.path_step as step
            join audit.path_step as before using (relation, purpose, branch)
            where relation = tracked_relation
                and purpose = of_purpose
                and before.position = step.position - 1
                and not audit.can_join(before.place, before.column_number, step.place, step.key_number)
            union
            -- What can't be read, or not all of it.
            select step.branch
            from audit.path_step as step
            join pg_class on pg_class.oid = step.place
            where step.relation = tracked_relation
                and step.purpose = of_purpose
                and step.position > 0
                and (
                    not coalesce(has_table_privilege(audit.recorder_of(step.place), step.place, 'select'), false)
                    or (pg_class.relrowsecurity and not audit.shows_every_row(step.place, audit.recorder_of(step.place)))
                )
            union
            -- What has become a secret.
            select step.branch
            from audit.path_step as step
            where step.relation = tracked_relation
                and step.purpose = of_purpose
                and audit.is_redacted(step.place, step.column_number)
                and not exists (
                    select
                    from audit.path_step as later
                    where (later.relation, later.purpose, later.branch) = (step.relation, step.purpose, step.branch)
                        and later.position > step.position
                )
        );
    if found then
        raise warning 'pgtrail: a path from % to its % is no more', tracked_relation, case of_purpose when 'org' then 'organization' else of_purpose end
            using hint = format(
                'What it led through was dropped, became of another type or a secret, or can''t be read any more. Call audit.track() with another %s if need be.', of_purpose
            );
    end if;
    return audit.written_steps(array(select step from audit.path_step as step where relation = tracked_relation and purpose = of_purpose));
end
$$;

comment on function audit.settled_path(regclass, text) is
    'Forgets the paths of a tracked table that lead nowhere any more; those that are left, as audit.written_steps() has them.';

create or replace function audit.has_path(tracked_relation regclass, of_purpose text)
returns boolean
language sql
stable
as $$
    select exists (select from audit.path_step where relation = tracked_relation and purpose = of_purpose)
$$;

comment on function audit.has_path(regclass, text) is
    'Whether the organization (`org`) or the label (`label`) of a tracked table is found by paths.';

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
    purpose text, branch smallint, "position" smallint, place regclass, key_name text, column_name text, key_oid oid, column_oid oid, key_type text,
    function_name text
)
language sql
stable
as $$
    select
        step.purpose,
        step.branch,
        step.position,
        step.place,
        key_column.attname::text,
        read_column.attname::text,
        referring.atttypid,
        read_column.atttypid,
        audit.plain_type(referring.atttypid),
        case when step.position > 0 then audit.compiled_name(
            'find',
            pg_catalog.format('%s.%I by %I ', audit.qualified_name(step.place), read_column.attname, key_column.attname)
                || audit.plain_type(referring.atttypid)
        ) end
    from audit.present_steps() as step
    join pg_catalog.pg_attribute as read_column
        on read_column.attrelid = step.place and read_column.attnum = step.column_number
    left join pg_catalog.pg_attribute as key_column
        on key_column.attrelid = step.place and key_column.attnum = step.key_number
    left join audit.present_steps() as before
        on (before.relation, before.purpose, before.branch, before.position) = (step.relation, step.purpose, step.branch, step.position - 1)
    left join pg_catalog.pg_attribute as referring
        on referring.attrelid = before.place and referring.attnum = before.column_number
    where step.relation = tracked_relation
$$;

comment on function audit.lookups(regclass) is
    'The steps of a tracked table''s paths with the names of their columns, and of the function that takes each but the first; key_type: of what is looked for.';

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
            step.function_name, 'key text', 'text',
            '{row_security=on}' || audit.settings_of_types('{}', array[step.key_oid, step.column_oid]),
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
    'Makes the functions that find a value in a table on a path by a key; whoever records the tracked table may call them.';

create or replace function audit.compiled_path(tracked_relation regclass, of_purpose text, of_branch smallint, row_name text)
returns text
language sql
stable
as $$
    select pg_catalog.concat(
        pg_catalog.string_agg(pg_catalog.format('audit.%I(', lookup.function_name), '' order by lookup.position desc)
            filter (where lookup.position > 0),
        pg_catalog.min(pg_catalog.concat(row_name, '.', pg_catalog.quote_ident(lookup.column_name), '::text')) filter (where lookup.position = 0),
        pg_catalog.repeat(')', count(*)::integer - 1)
    )
    from audit.lookups(tracked_relation) as lookup
    where lookup.purpose = of_purpose and lookup.branch = of_branch
$$;

comment on function audit.compiled_path(regclass, text, smallint, text) is
    'SQL for the text at the end of one path, null where the path breaks off.';

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
    'The organization of a resource''s newest event: of a row that goes with what its path led through, which is gone already.';

create or replace function audit.compiled_org(tracked audit.tracked_table, row_name text, row_operation text)
returns text
language sql
stable
as $$
    select case
        when audit.has_path(tracked.relation, 'org') then pg_catalog.format(
            E'coalesce(\n        %s\n    )',
            pg_catalog.concat_ws(
                E',\n        ',
                (
                    select pg_catalog.string_agg(
                        'audit.short_org(' || audit.compiled_path(tracked.relation, 'org', branch, row_name) || ')', E',\n        ' order by branch
                    )
                    from audit.path_step
                    where relation = tracked.relation and purpose = 'org' and position = 0
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

-- Labels ---------------------------------------------------------------------------------------------------------------

create or replace function audit.joined_label(parts text[], if_whole boolean)
returns text
language sql
immutable
as $$
    select case
        when if_whole and pg_catalog.array_position(parts, null) is not null then null
        else nullif(pg_catalog.left(audit.text_without_secrets(pg_catalog.array_to_string(parts, ' → ')), 200), '')
    end
$$;

comment on function audit.joined_label(text[], boolean) is
    'A label of several parts, at most 200 characters: `ann@acme.example → Platform`. Null where there is none, or, if_whole, where one is missing.';

create or replace function audit.labeller_name(relation regclass)
returns text
language sql
stable
as $$
    select audit.compiled_name('label', audit.qualified_name(relation))
$$;

comment on function audit.labeller_name(regclass) is
    'The name of the function in schema audit that finds the label of a row of a table in its newest event.';

create or replace function audit.create_labeller(tracked audit.tracked_table, recorder name)
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
begin
    if not audit.has_path(tracked.relation, 'label') then
        return;
    end if;
    -- Of this table's events alone: whoever records it runs code of its owner.
    perform audit.create_compiled(
        audit.labeller_name(tracked.relation), 'row_id text', 'text', '{}',
        format(
            E'begin\n    return (\n        select resource_label\n        from audit.event\n'
            '        where resource_hash = hashtextextended(row_id, 0) and resource_id = row_id and table_name = %L and resource_label is not null\n'
            '        order by occurred_at desc, id desc\n        limit 1\n    );\nend\n',
            tracked.name
        ),
        'audit_owner',
        format('Finds the label of a row of %s in its newest event. Compiled.', tracked.name)
    );
    execute format('grant execute on function audit.%I(text) to %I', audit.labeller_name(tracked.relation), recorder);
end
$$;

comment on function audit.create_labeller(audit.tracked_table, name) is
    'Makes the function that finds the label of a row that goes with what its label is made of, where that is found by paths.';

create or replace function audit.compiled_label(tracked audit.tracked_table, row_name text, row_operation text, hides boolean default true)
returns text
language sql
stable
as $$
    select case
        when audit.has_path(tracked.relation, 'label') then (
            select case
                when row_operation = 'INSERT' then pg_catalog.format('audit.joined_label(%s, false)', parts)
                else pg_catalog.format(
                    E'coalesce(\n            audit.joined_label(%s, true),\n            audit.%I(%s),\n            audit.joined_label(%1$s, false)\n        )',
                    parts, audit.labeller_name(tracked.relation), audit.compiled_resource_id(tracked, row_name)
                )
            end
            from (
                select pg_catalog.format(
                    'array[%s]::text[]',
                    pg_catalog.string_agg(audit.compiled_path(tracked.relation, 'label', branch, row_name), ', ' order by branch)
                )
                from audit.path_step
                where relation = tracked.relation and purpose = 'label' and position = 0
            ) as compiled (parts)
        )
        else coalesce(
            (
                select pg_catalog.format(
                    -- What can't be longer is not cut: of a fixed length, or declared so.
                    case when type.typlen > 0 or attribute.atttypmod between 4 and 204 and type.typcategory = 'S' then '%s' else 'left(%s, 200)' end,
                    pg_catalog.format(
                        -- (One that is not audited was not among the texts that were looked at.)
                        case
                            when (hides or attribute.attname = any (tracked.ignore))
                                and audit.type_may_hold_secret(attribute.atttypid, attribute.atttypmod)
                                then 'audit.text_without_secrets(%s)'
                            else '%s'
                        end,
                        pg_catalog.concat(row_name, '.', pg_catalog.quote_ident(attribute.attname), '::text')
                    )
                )
                from pg_catalog.pg_attribute as attribute
                join pg_catalog.pg_type as type on type.oid = attribute.atttypid
                where attribute.attrelid = tracked.relation and attribute.attname = tracked.label
            ),
            'null'
        )
    end
$$;

comment on function audit.compiled_label(audit.tracked_table, text, text, boolean) is
    'SQL for the label of a row, at most 200 characters; hides: it is looked through for secrets.';

-- What organizations are called -----------------------------------------------------------------------------------------

create or replace function audit.names_orgs(tracked audit.tracked_table)
returns boolean
language plpgsql
stable
as $$
begin
    return tracked.label is not null
        and not audit.has_path(tracked.relation, 'label')
        and audit.identity_columns(tracked.relation) = array[tracked.org]
        and not exists (
            select
            from audit.live_columns(tracked.relation) as live
            join pg_catalog.pg_type on pg_type.oid = live.type_oid
            where live.name in (tracked.org, tracked.label)
                and (audit.is_recorded_as_text(live.type_oid) or pg_type.typcategory not in ('S', 'N', 'U'))
        );
end
$$;

comment on function audit.names_orgs(audit.tracked_table) is
    'Whether a tracked table is that of the organizations, with a label: its organization is its key.';

create or replace function audit.namer_name(relation regclass)
returns text
language sql
stable
as $$
    select audit.compiled_name('name', audit.qualified_name(relation))
$$;

comment on function audit.namer_name(regclass) is
    'The name of the function in schema audit that notes what an organization is called.';

create or replace function audit.create_namer(tracked audit.tracked_table, recorder name)
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
begin
    if not audit.names_orgs(tracked) then
        return;
    end if;
    -- (For whoever records this table alone: whose it is says what its organizations are called.)
    perform audit.create_compiled(
        audit.namer_name(tracked.relation), 'named_id text, given_label text', 'void', '{}',
        E'begin\n    insert into audit.org_label as known (org_id, label)\n    select named_id, given_label\n    where num_nulls(named_id, given_label) = 0\n'
        '    on conflict (org_id) do update\n    set label = excluded.label\n    where known.label <> excluded.label;\nend\n',
        'audit_owner',
        format('Notes what an organization in %s is called. Compiled.', tracked.name)
    );
    execute format('grant execute on function audit.%I(text, text) to %I', audit.namer_name(tracked.relation), recorder);
end
$$;

comment on function audit.create_namer(audit.tracked_table, name) is
    'Makes the function that notes what an organization is called, where a table is that of the organizations.';

create or replace function audit.compiled_org_naming(tracked audit.tracked_table, event_operation text)
returns text
language plpgsql
stable
as $$
begin
    return case when event_operation in ('INSERT', 'UPDATE') and audit.names_orgs(tracked) then pg_catalog.format(
        E'\n    perform audit.%I(%s, %s)%s;',
        audit.namer_name(tracked.relation),
        audit.compiled_org(tracked, 'new', 'INSERT'),
        audit.compiled_label(tracked, 'new', 'INSERT'),
        case when not audit.records_by_row(tracked, event_operation) then ' from new_rows as new' end
    ) end;
end
$$;

comment on function audit.compiled_org_naming(audit.tracked_table, text) is
    'SQL that notes what the organizations are called that a statement wrote. Null: the table is not theirs.';

create or replace function audit.name_known_orgs(tracked_relation regclass)
returns void
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
set quote_all_identifiers = off
set standard_conforming_strings = on
as $$
declare
    tracked audit.tracked_table;
    leaf regclass;
begin
    select * into tracked from audit.tracked_table where relation = tracked_relation;
    if not audit.names_orgs(tracked) or not has_table_privilege(audit.database_actor_id()::name, tracked_relation, 'select') then
        return;
    end if;
    for leaf in
        select pg_class.oid
        from pg_class
        where relkind = 'r' and pg_class.oid in (select relid from audit.partition_tree(tracked_relation))
    loop
        execute format(
            'select audit.%I(org_id, label) from ('
            'select distinct on (1) %s, %s from audit.%I(%L, ''(0,0)'', ''(4294967295,0)'') as new (%s)) as named (org_id, label)',
            audit.namer_name(tracked_relation),
            audit.compiled_org(tracked, 'new', 'INSERT'), audit.compiled_label(tracked, 'new', 'INSERT'),
            audit.reader_name(tracked_relation), leaf::oid, audit.plain_columns(tracked_relation)
        );
    end loop;
end
$$;

comment on function audit.name_known_orgs(regclass) is
    'Notes what the organizations are called whose rows were there before their table was tracked, if the caller may read it.';

create or replace function audit.label_of_org(of_org text)
returns text
language sql
stable
as $$
    select org_label.label from audit.org_label where org_label.org_id = of_org
$$;

comment on function audit.label_of_org(text) is
    'What an organization is called, if the present role may see it. Null: nobody knows, as on a hub, or where the table of organizations is not tracked.';
