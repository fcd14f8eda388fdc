-- SQL for the organization and the label of a row: by a column, or by the functions that look a value up on a path.

create or replace function audit_internal.org_column_sql(relation regclass, row_name text, column_name text)
returns text
language sql
stable
as $$
    select pg_catalog.concat(
        case when type.typlen > 0 then '' else 'audit_internal.short_org' end, '(', row_name, '.', pg_catalog.quote_ident(column_name), '::text)'
    )
    from pg_catalog.pg_attribute as attribute
    join pg_catalog.pg_type as type on type.oid = attribute.atttypid
    where attribute.attrelid = relation and attribute.attname = column_name
$$;

comment on function audit_internal.org_column_sql(regclass, text, text) is 'SQL for the organization that a column holds; null: there is no such column.';

create or replace function audit_internal.lookups(tracked_relation regclass)
returns table (
    purpose text, branch smallint, "position" smallint, step_table regclass, key_name text, column_name text, key_oid oid, column_oid oid, key_type text,
    function_name text
)
language sql
stable
as $$
    select
        step.purpose,
        step.branch,
        step.position,
        step.step_table,
        key_column.attname::text,
        read_column.attname::text,
        referring.atttypid,
        read_column.atttypid,
        audit_internal.plain_type(referring.atttypid),
        case when step.position > 0 then audit_internal.compiled_function_name(
            'find',
            pg_catalog.format('%s.%I by %I ', audit_internal.qualified_name(step.step_table), read_column.attname, key_column.attname)
                || audit_internal.plain_type(referring.atttypid)
        ) end
    from audit_internal.current_steps() as step
    join pg_catalog.pg_attribute as read_column
        on read_column.attrelid = step.step_table and read_column.attnum = step.column_number
    left join pg_catalog.pg_attribute as key_column
        on key_column.attrelid = step.step_table and key_column.attnum = step.key_number
    left join audit_internal.current_steps() as before
        on (before.relation, before.purpose, before.branch, before.position) = (step.relation, step.purpose, step.branch, step.position - 1)
    left join pg_catalog.pg_attribute as referring
        on referring.attrelid = before.step_table and referring.attnum = before.column_number
    where step.relation = tracked_relation
$$;

comment on function audit_internal.lookups(regclass) is
    'The steps of a tracked table''s paths with the names of their columns, and of the function that takes each but the first; key_type: of what is looked for.';

create or replace function audit_internal.create_lookups(tracked_relation regclass, recorder name)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    step record;
begin
    for step in select * from audit_internal.lookups(tracked_relation) as lookup where lookup.position > 0
    loop
        perform audit_internal.create_compiled_function(
            step.function_name, 'key text', 'text',
            '{row_security=on}' || audit_internal.settings_of_types('{}', array[step.key_oid, step.column_oid]),
            concat(
                E'declare\n    found_value text;\n    is_read boolean;\nbegin\n',
                audit_internal.sandbox_sql(
                    concat(
                        format('select stored.%I::text into found_value from ', step.column_name),
                        -- Of an ordinary table its own rows: only they are held unique by its key.
                        (select case when relkind = 'r' then 'only ' end from pg_class where pg_class.oid = step.step_table),
                        audit_internal.qualified_name(step.step_table),
                        format(' as stored where stored.%I = $1::', step.key_name), step.key_type, ' limit 1;'
                    ),
                    -- It costs no write.
                    'return null;'
                ),
                E'    return found_value;\nend\n'
            ),
            audit_internal.assign_recorder(step.step_table),
            format('Finds a value of %s by a key. Compiled.', audit_internal.qualified_name(step.step_table))
        );
        execute format('grant execute on function audit_internal.%I(text) to %I', step.function_name, recorder);
    end loop;
end
$$;

comment on function audit_internal.create_lookups(regclass, name) is
    'Makes the functions that find a value in a table on a path by a key; whoever records the tracked table may call them.';

create or replace function audit_internal.path_sql(tracked_relation regclass, of_purpose text, of_branch smallint, row_name text)
returns text
language sql
stable
as $$
    select pg_catalog.concat(
        pg_catalog.string_agg(pg_catalog.format('audit_internal.%I(', lookup.function_name), '' order by lookup.position desc)
            filter (where lookup.position > 0),
        pg_catalog.min(pg_catalog.concat(row_name, '.', pg_catalog.quote_ident(lookup.column_name), '::text')) filter (where lookup.position = 0),
        pg_catalog.repeat(')', count(*)::integer - 1)
    )
    from audit_internal.lookups(tracked_relation) as lookup
    where lookup.purpose = of_purpose and lookup.branch = of_branch
$$;

comment on function audit_internal.path_sql(regclass, text, smallint, text) is
    'SQL for the text at the end of one path, null where the path breaks off.';

create or replace function audit_internal.last_org(of_type text, of_id text)
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

comment on function audit_internal.last_org(text, text) is
    'The organization of a resource''s newest event: of a row that goes with what its path led through, which is gone already.';

create or replace function audit_internal.org_sql(tracked audit.tracked_table, row_name text, row_operation text)
returns text
language sql
stable
as $$
    select case
        when audit_internal.has_path(tracked.relation, 'org') then pg_catalog.format(
            E'coalesce(\n        %s\n    )',
            pg_catalog.concat_ws(
                E',\n        ',
                (
                    select pg_catalog.string_agg(
                        'audit_internal.short_org(' || audit_internal.path_sql(tracked.relation, 'org', branch, row_name) || ')', E',\n        ' order by branch
                    )
                    from audit.path_step
                    where relation = tracked.relation and purpose = 'org' and position = 0
                ),
                case
                    when row_operation <> 'INSERT' then pg_catalog.format(
                        'audit_internal.last_org(%L, %s)', tracked.resource, audit_internal.resource_id_sql(tracked, row_name)
                    )
                end
            )
        )
        else coalesce(audit_internal.org_column_sql(tracked.relation, row_name, tracked.org), 'null')
    end
$$;

comment on function audit_internal.org_sql(audit.tracked_table, text, text) is 'SQL for the organization of a row.';

-- Labels ---------------------------------------------------------------------------------------------------------------

create or replace function audit_internal.joined_label(parts text[], if_whole boolean)
returns text
language sql
immutable
as $$
    select case
        when if_whole and pg_catalog.array_position(parts, null) is not null then null
        else nullif(pg_catalog.left(audit_internal.text_without_secrets(pg_catalog.array_to_string(parts, ' → ')), 200), '')
    end
$$;

comment on function audit_internal.joined_label(text[], boolean) is
    'A label of several parts, at most 200 characters: `ann@acme.example → Platform`. Null where there is none, or, if_whole, where one is missing.';

create or replace function audit_internal.label_function(relation regclass)
returns text
language sql
stable
as $$
    select audit_internal.compiled_function_name('label', audit_internal.qualified_name(relation))
$$;

comment on function audit_internal.label_function(regclass) is
    'The name of the function in schema audit that finds the label of a row of a table in its newest event.';

create or replace function audit_internal.create_label_function(tracked audit.tracked_table, recorder name)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    if not audit_internal.has_path(tracked.relation, 'label') then
        return;
    end if;
    -- Of this table's events alone: whoever records it runs code of its owner.
    perform audit_internal.create_compiled_function(
        audit_internal.label_function(tracked.relation), 'row_id text', 'text', '{}',
        format(
            E'begin\n    return (\n        select resource_label\n        from audit.event\n'
            '        where resource_hash = hashtextextended(row_id, 0) and resource_id = row_id and table_name = %L and resource_label is not null\n'
            '        order by occurred_at desc, id desc\n        limit 1\n    );\nend\n',
            tracked.name
        ),
        'audit_owner',
        format('Finds the label of a row of %s in its newest event. Compiled.', tracked.name)
    );
    execute format('grant execute on function audit_internal.%I(text) to %I', audit_internal.label_function(tracked.relation), recorder);
end
$$;

comment on function audit_internal.create_label_function(audit.tracked_table, name) is
    'Makes the function that finds the label of a row that goes with what its label is made of, where that is found by paths.';

create or replace function audit_internal.label_sql(tracked audit.tracked_table, row_name text, row_operation text, hides boolean default true)
returns text
language sql
stable
as $$
    select case
        when audit_internal.has_path(tracked.relation, 'label') then (
            select case
                when row_operation = 'INSERT' then pg_catalog.format('audit_internal.joined_label(%s, false)', parts)
                else pg_catalog.format(
                    E'coalesce(\n            audit_internal.joined_label(%s, true),\n            audit_internal.%I(%s),\n            audit_internal.joined_label(%1$s, false)\n        )',
                    parts, audit_internal.label_function(tracked.relation), audit_internal.resource_id_sql(tracked, row_name)
                )
            end
            from (
                select pg_catalog.format(
                    'array[%s]::text[]',
                    pg_catalog.string_agg(audit_internal.path_sql(tracked.relation, 'label', branch, row_name), ', ' order by branch)
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
                                and audit_internal.type_may_hold_secret(attribute.atttypid, attribute.atttypmod)
                                then 'audit_internal.text_without_secrets(%s)'
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

comment on function audit_internal.label_sql(audit.tracked_table, text, text, boolean) is
    'SQL for the label of a row, at most 200 characters; hides: it is looked through for secrets.';
