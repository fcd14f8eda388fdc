-- The paths to organizations and labels as steps: parsed, stored, followed when tables change.

create or replace function audit_internal.parse_path(tracked_relation regclass, purpose text, written text)
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
    for branch in select part, number from audit_internal.split_unquoted(written, case purpose when 'label' then '[+]' else ',' end) loop
        taken.branch := branch.number;
        for step in
            select part, number - 1 as number, number = max(number) over () as is_last
            from audit_internal.split_unquoted(branch.part, '->')
        loop
            previous := taken;
            taken.position := step.number;
            if step.number = 0 then
                taken.step_table := tracked_relation;
                taken.key_number := null;
                taken.column_number := audit_internal.check_column_number(argument, tracked_relation, tracked_relation, step.part);
                perform audit_internal.check_stored_column(
                    tracked_relation, (select attname from pg_attribute where attrelid = tracked_relation and attnum = taken.column_number), argument
                );
            else
                taken.step_table := audit_internal.step_table(argument, step.part, tracked_relation);
                taken.key_number := audit_internal.joined_column(previous.step_table, previous.column_number, taken.step_table);
                if taken.key_number is null then
                    perform audit_internal.raise_invalid_path(
                        argument,
                        format('no foreign key leads to %s, and its primary key is not one column', taken.step_table),
                        'Add the foreign key, or take another path.'
                    );
                end if;
                if not audit_internal.may_read(taken.step_table, taken.key_number) then
                    perform audit_internal.raise_invalid_path(
                        argument, format('you may not read the key of %s', taken.step_table), 'Let the owner of that table, or a superuser, do it.'
                    );
                end if;
                perform audit_internal.check_join(argument, previous.step_table, previous.column_number, taken.step_table, taken.key_number);
                select name into last_column
                from unnest(parse_ident(step.part)) with ordinality as part (name, position)
                order by position desc
                limit 1;
                taken.column_number := audit_internal.check_column_number(argument, tracked_relation, taken.step_table, last_column);
                if step.is_last and audit_internal.is_redacted(taken.step_table, taken.column_number) then
                    perform audit_internal.raise_invalid_path(argument, format('%s is a secret', step.part), 'Name a column that may be shown.');
                end if;
            end if;
            return next taken;
        end loop;
    end loop;
end
$$;

comment on function audit_internal.parse_path(regclass, text, text) is
    'The steps of the paths to a table''s organization (alternatives between commas) or label (parts between plus signs): each column -> table.column [-> table.column …], names as in SQL. PT033.';

create or replace function audit_internal.steps_as_text(steps audit.path_step[])
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
                case when step.position > 0 then audit_internal.qualified_name(step.step_table) || '.' else '' end
                    || pg_catalog.quote_ident(attribute.attname),
                ' -> ' order by step.position
            ) as written
        from pg_catalog.unnest(steps) as step
        join pg_catalog.pg_attribute as attribute
            on attribute.attrelid = step.step_table and attribute.attnum = step.column_number
        group by step.purpose, step.branch
    ) as branch
    group by branch.purpose
$$;

comment on function audit_internal.steps_as_text(audit.path_step[]) is
    'Paths of one purpose as audit.track() takes them, with the names of today: one text however they were given. Null: none.';

create or replace function audit_internal.path_as_text(tracked_relation regclass, purpose text, written text)
returns text
language sql
stable
security definer
set search_path = pg_catalog, pg_temp
set quote_all_identifiers = off
set standard_conforming_strings = on
as $$
    select audit_internal.steps_as_text(array(select step from audit_internal.parse_path(tracked_relation, purpose, written) as step))
$$;

comment on function audit_internal.path_as_text(regclass, text, text) is 'A path in the one form that is kept. PT033.';

create or replace function audit_internal.current_steps()
returns setof audit.path_step
language sql
stable
as $$
    select
        step.relation,
        step.purpose,
        step.branch,
        step.position,
        step.step_table,
        case
            when step.step_table_oid = step.step_table or step.key_number is null then step.key_number
            else coalesce((select attnum from pg_catalog.pg_attribute where attrelid = step.step_table and attname = step.key_name), 0::smallint)
        end,
        case
            when step.step_table_oid = step.step_table then step.column_number
            else coalesce((select attnum from pg_catalog.pg_attribute where attrelid = step.step_table and attname = step.column_name), 0::smallint)
        end,
        step.step_table_oid,
        step.key_name,
        step.column_name
    from audit.path_step as step
$$;

comment on function audit_internal.current_steps() is
    'audit.path_step with the numbers that the columns have today: after a restore, by their names; 0 for a column that is not there.';

create or replace function audit_internal.number_steps(tracked_relation regclass)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    update audit.path_step as step
    set key_number = present.key_number, column_number = present.column_number
    from audit_internal.current_steps() as present
    where step.relation = tracked_relation
        and step.step_table_oid is distinct from step.step_table
        and (present.relation, present.purpose, present.branch, present.position) = (step.relation, step.purpose, step.branch, step.position);
    update audit.path_step as step
    set
        step_table_oid = step.step_table,
        key_name = (select attname from pg_attribute where attrelid = step.step_table and attnum = step.key_number),
        column_name = (select attname from pg_attribute where attrelid = step.step_table and attnum = step.column_number)
    where step.relation = tracked_relation;
end
$$;

comment on function audit_internal.number_steps(regclass) is
    'Brings the numbers of the columns on a tracked table''s paths up to date after a restore, and their names after renames.';

create or replace function audit_internal.store_paths(tracked_relation regclass, org text, label text)
returns void
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
set quote_all_identifiers = off
set standard_conforming_strings = on
as $$
begin
    -- (Here current_user is audit_owner, whoever asks.)
    perform audit_internal.check_is_not_own(tracked_relation, audit_internal.database_actor_id()::name);
    delete from audit.path_step where relation = tracked_relation;
    insert into audit.path_step
    select step.*
    from (values ('org', org), ('label', label)) as given (purpose, written)
    cross join lateral audit_internal.parse_path(tracked_relation, given.purpose, given.written) as step
    where audit_internal.is_path(tracked_relation, given.written);
    update audit.path_step as step set step_table_oid = step.step_table where step.relation = tracked_relation;
    perform audit_internal.number_steps(tracked_relation);
end
$$;

comment on function audit_internal.store_paths(regclass, text, text) is
    'Stores the steps by which a tracked table''s organization and label are found, in place of what was stored; none where they are columns. PT033, PT039.';

create or replace function audit_internal.resolved_path(tracked_relation regclass, of_purpose text)
returns text
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    perform audit_internal.number_steps(tracked_relation);
    -- Of a path that has lost a table or a column nothing is left.
    delete from audit.path_step as gone
    where gone.relation = tracked_relation
        and gone.purpose = of_purpose
        and gone.branch in (
            select step.branch
            from audit.path_step as step
            cross join lateral unnest(array[step.key_number, step.column_number]) as needed (number)
            left join pg_attribute on attrelid = step.step_table and attnum = needed.number and not attisdropped
            where step.relation = tracked_relation and step.purpose = of_purpose and needed.number is not null and attname is null
            union
            select step.branch
            from audit.path_step as step
            join audit.path_step as before using (relation, purpose, branch)
            where relation = tracked_relation
                and purpose = of_purpose
                and before.position = step.position - 1
                and not audit_internal.can_join(before.step_table, before.column_number, step.step_table, step.key_number)
            union
            -- What can't be read, or not all of it.
            select step.branch
            from audit.path_step as step
            join pg_class on pg_class.oid = step.step_table
            where step.relation = tracked_relation
                and step.purpose = of_purpose
                and step.position > 0
                and (
                    not coalesce(has_table_privilege(audit_internal.recorder_of(step.step_table), step.step_table, 'select'), false)
                    or (pg_class.relrowsecurity and not audit_internal.shows_every_row(step.step_table, audit_internal.recorder_of(step.step_table)))
                )
            union
            -- What has become a secret.
            select step.branch
            from audit.path_step as step
            where step.relation = tracked_relation
                and step.purpose = of_purpose
                and audit_internal.is_redacted(step.step_table, step.column_number)
                and not exists (
                    select
                    from audit.path_step as later
                    where (later.relation, later.purpose, later.branch) = (step.relation, step.purpose, step.branch)
                        and later.position > step.position
                )
        );
    if found then
        raise warning 'pgtrail: the path from % to its % no longer exists', tracked_relation, case of_purpose when 'org' then 'organization' else of_purpose end
            using hint = format(
                'What it led through was dropped, became of another type or a secret, or can''t be read any more. Call audit.track() with another %s if need be.', of_purpose
            );
    end if;
    return audit_internal.steps_as_text(array(select step from audit.path_step as step where relation = tracked_relation and purpose = of_purpose));
end
$$;

comment on function audit_internal.resolved_path(regclass, text) is
    'Forgets the paths of a tracked table that lead nowhere any more; those that are left, as audit_internal.steps_as_text() has them.';

create or replace function audit_internal.has_path(tracked_relation regclass, of_purpose text)
returns boolean
language sql
stable
as $$
    select exists (select from audit.path_step where relation = tracked_relation and purpose = of_purpose)
$$;

comment on function audit_internal.has_path(regclass, text) is
    'Whether the organization (`org`) or the label (`label`) of a tracked table is found by paths.';

create or replace function audit_internal.tracked_root(relation regclass)
returns regclass
language sql
stable
as $$
    select tracked.relation
    from (
        select tracked_root.relation
        union all
        select relid from pg_catalog.pg_partition_ancestors(tracked_root.relation)
    ) as place (relation)
    join audit.tracked_table as tracked on tracked.relation = place.relation
    limit 1
$$;

comment on function audit_internal.tracked_root(regclass) is 'The tracked table that a table is, or is a partition of; null: neither.';

create or replace function audit_internal.affected_tables(altered regclass)
returns setof regclass
language sql
stable
as $$
    select root from audit_internal.tracked_root(altered) as root where root is not null
    union
    select step.relation
    from audit.path_step as step
    where step.step_table = altered and step.position > 0
$$;

comment on function audit_internal.affected_tables(regclass) is
    'The tracked tables that a table is, is a partition of, or is passed through by: on the path to their organization or label.';
