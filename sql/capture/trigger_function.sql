-- A trigger function from its first line to its last.

create or replace function audit_internal.trigger_ending_sql(tracked audit.tracked_table, event_operation text)
returns text
language plpgsql
stable
as $$
begin
    return (
        select E'\n    return null;\n' || case on_failure
            when 'continue' then
                pg_catalog.concat(
                    E'exception\n    when serialization_failure or deadlock_detected then\n        raise;\n    when others then\n    begin\n    ',
                    audit_internal.fallback_sql(tracked, event_operation),
                    E'\n    exception\n        when others then\n            null;\n    end;\n    ',
                    pg_catalog.format(
                        E'perform audit_internal.record_capture_failure(%L, %L, sqlstate);\n    return null;\nend\n',
                        audit_internal.qualified_name(tracked.relation),
                        event_operation
                    )
                )
            else E'end\n'
        end
        from audit.policy
    );
end
$$;

comment on function audit_internal.trigger_ending_sql(audit.tracked_table, text) is
    'How a trigger function ends: by itself; or, where the policy prefers that the application goes on, by recording what can be recorded.';

create or replace function audit_internal.unchanged_check_sql(tracked audit.tracked_table)
returns text
language sql
stable
as $$
    -- Where `old` is made as `new` in what is ignored, the two differ in what is audited or not at all: half of what it
    -- costs to compare the images of two lists of columns. Not where a rule looks at an ignored column.
    select case
        when pg_catalog.bool_or(audit_internal.is_recorded_as_text(attribute.atttypid)) is not true
            and not exists (
                select
                from audit.rule
                where rule.relation = tracked.relation
                    and rule.operation = 'UPDATE'
                    and (
                        exists (
                            select
                            from pg_catalog.unnest(tracked.ignore) as name
                            where pg_catalog.strpos(
                                pg_catalog.lower(pg_catalog.replace(rule.condition, '""', '"') collate "C"), pg_catalog.lower(name collate "C")
                            ) > 0
                        )
                        -- Or at the whole row.
                        or rule.condition collate "C" ~* '\mold\M(?!\s*[.]\s*["[:alpha:]_])'
                    )
            )
        then
            coalesce(pg_catalog.string_agg(
                pg_catalog.format(E'old.%1$I := new.%1$I;\n    ', attribute.attname), '' order by attribute.attnum
            ), '')
            || E'if old *= new then\n        return null;\n    end if;\n    '
        else pg_catalog.concat(
            'if ', audit_internal.row_image_sql(tracked, 'old'),
            E'\n        *= ', audit_internal.row_image_sql(tracked, 'new'),
            E'\n    then\n        return null;\n    end if;\n    '
        )
    end
    from pg_catalog.pg_attribute as attribute
    where attribute.attrelid = tracked.relation
        and attribute.attname = any (tracked.ignore)
        and attribute.attnum > 0
        and not attribute.attisdropped
        and attribute.attgenerated <> 'v'
$$;

comment on function audit_internal.unchanged_check_sql(audit.tracked_table) is
    'What a trigger function for each updated row begins with: it ends where no audited column has changed.';

create or replace function audit_internal.table_check_sql(tracked audit.tracked_table, event_operation text)
returns text
language sql
stable
as $$
    -- On TRUNCATE a warning: a partition that was detached may still have the trigger, and it is its owner's to empty.
    select pg_catalog.concat(
        -- (The oid that it had when it was compiled: after a restore audit_internal.is_captured_by() knows it.)
        'if tg_relid <> ', coalesce(tracked.numbered_oid, tracked.relation),
        case when relkind = 'p' then
            pg_catalog.concat(' and pg_partition_root(tg_relid) is distinct from ', coalesce(tracked.numbered_oid, tracked.relation))
        end,
        -- (Apart, since it costs something to prepare a call that is not made.)
        pg_catalog.format(E' then\n        if not audit_internal.is_captured_by(tg_relid, %L) then', audit_internal.qualified_name(tracked.relation)),
        E'\n            raise ', case event_operation when 'TRUNCATE' then 'warning' else 'exception' end, ' using errcode = ''PT063'', ',
        pg_catalog.format(
            E'message = format(''trigger %%s of %%s does not belong there: it records %%s'', tg_name, tg_relid::regclass, %L), ',
            audit_internal.qualified_name(tracked.relation)
        ),
        E'hint = ''Drop it; audit.track() makes the triggers of a table.'';',
        case event_operation when 'TRUNCATE' then E'\n            return null;' end,
        E'\n        end if;\n    end if;\n    ',
        -- It empties the table of all rows, and an older snapshot does not see all of them.
        case event_operation when 'TRUNCATE' then
            E'if current_setting(''transaction_isolation'') not in (''read committed'', ''read uncommitted'') then\n'
            '        raise exception using errcode = ''PT064'', '
            'message = format(''a TRUNCATE of %s can''''t be recorded in a transaction that is %s'', tg_relid::regclass, current_setting(''transaction_isolation'')), '
            'hint = ''Truncate it in a transaction that is read committed, or delete its rows.'';\n    end if;\n    '
        end
    )
    from pg_catalog.pg_class
    where pg_class.oid = tracked.relation
$$;

comment on function audit_internal.table_check_sql(audit.tracked_table, text) is
    'What ends a capture function that is called for another table than its own.';

create or replace function audit_internal.has_rows_of_statement(fired_on regclass, trigger_name name, rows_name name)
returns boolean
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
    select exists (
        select from pg_trigger where tgrelid = fired_on and tgname = trigger_name and rows_name in (tgoldtable, tgnewtable)
    )
$$;

comment on function audit_internal.has_rows_of_statement(regclass, name, name) is
    'Whether a trigger hands its function the rows of the statement under a name.';

create or replace function audit_internal.transition_check_sql(event_operation text)
returns text
language sql
immutable
as $$
    -- What a trigger does not hand over is looked up by name, and found as a temporary table or view of somebody's. (Each
    -- condition by itself, since it costs something to prepare a call that is not made.)
    select E'if pg_my_temp_schema() <> 0 then\n        ' || pg_catalog.string_agg(
        pg_catalog.format(
            E'if to_regclass(''pg_temp.%1$s'') is not null then\n'
            '            if not audit_internal.has_rows_of_statement(tg_relid, tg_name, ''%1$s'') then\n'
            '                raise exception using errcode = ''PT063'', '
            'message = format(''trigger %%s of %%s does not hand over the rows of a statement'', tg_name, tg_relid::regclass), '
            'hint = ''Drop it; audit.track() makes the triggers of a table.'';\n'
            '            end if;\n        end if;\n    ',
            rows_name
        ),
        '    '
    ) || E'end if;\n    '
    from (values ('DELETE', 'old_rows'), ('INSERT', 'new_rows'), ('UPDATE', 'old_rows'), ('UPDATE', 'new_rows')) as handed (operation, rows_name)
    where handed.operation = event_operation
$$;

comment on function audit_internal.transition_check_sql(text) is
    'What ends a capture function for a statement whose trigger has no such rows, and that would find others by their name.';

create or replace function audit_internal.types_check_sql(tracked audit.tracked_table, event_operation text)
returns text
language plpgsql
stable
as $$
begin
    return (
        -- Postgres compares records of nulls while it plans, once a session, and raises an error where a type is another: then
        -- what was compiled for a number might call a cast of its owner's.
        -- (The name of the table's row is looked up again by every session: it must be this table's still.)
        select pg_catalog.concat(
            E'begin\n        ',
            case
                when not by_row then pg_catalog.format(
                    E'if tg_relid <> %L::regclass then\n            raise sqlstate ''PT062'';\n        end if;\n        ', audit_internal.qualified_name(tracked.relation)
                )
            end,
            'if row(',
            pg_catalog.string_agg(
                pg_catalog.format(
                    case when by_row then 'case when false then %s.%I end' else '(null::%3$s).%2$I' end,
                    case event_operation when 'DELETE' then 'old' else 'new' end,
                    name,
                    audit_internal.qualified_name(tracked.relation)
                ),
                ', ' order by number
            ),
            E')::record\n            *<> row(',
            pg_catalog.string_agg(
                'null::' || pg_catalog.format_type(type_oid, -1), ', ' order by number
            ),
            E')::record then\n            null;\n        end if;\n    exception\n        when others then\n',
            E'            is_as_compiled := audit_internal.has_safe_types(tg_relid, ',
            pg_catalog.quote_literal(audit_internal.columns_as_text(tracked.relation)),
            E') is true;\n    end;\n    '
        )
        from audit_internal.live_columns(tracked.relation)
        -- (`offset 0`: once, not for each column.)
        cross join (select audit_internal.records_by_row(tracked, event_operation) offset 0) as kind (by_row)
        where has_value and not audit_internal.is_recorded_as_text(type_oid) and event_operation <> 'TRUNCATE'
        group by by_row
    );
end
$$;

comment on function audit_internal.types_check_sql(audit.tracked_table, text) is
    'What finds out whether a table''s columns are of the types that a capture function was compiled for: no event trigger may have followed. Null: nothing depends on it.';

create or replace function audit_internal.trigger_body_sql(tracked audit.tracked_table, event_operation text)
returns text
language plpgsql
stable
as $$
declare
    by_row constant boolean := audit_internal.records_by_row(tracked, event_operation);
    in_bulk constant boolean := event_operation = 'UPDATE' and not by_row;
    types constant text := audit_internal.types_check_sql(tracked, event_operation);
begin
    return concat(
        -- A line break in a name must not end the comment.
        '-- ', event_operation, ' on ', translate(audit_internal.qualified_name(tracked.relation), E'\n\r', '  '),
        E', compiled from audit.tracked_table and audit.rule. Do not edit: audit.recompile() writes it anew.\n',
        E'#variable_conflict use_column\n<<recorded>>\ndeclare\n    actor audit.actor;\n    is_as_compiled boolean;\n',
        case when in_bulk then E'    recorded_rows boolean := false;\n' end,
        case when by_row then E'    before jsonb;\n    after jsonb;\n    changed text[];\n    texts text;\n' end,
        E'begin\n    ',
        case when event_operation = 'UPDATE' and by_row then audit_internal.unchanged_check_sql(tracked) end,
        audit_internal.table_check_sql(tracked, event_operation),
        case when not by_row then audit_internal.transition_check_sql(event_operation) end,
        types,
        E'if audit_internal.actor_is_claimed() then\n        actor := audit_internal.claimed_actor();\n    end if;\n',
        E'    if is_as_compiled is not false then\n        ',
        case when by_row then audit_internal.row_recording_sql(tracked, event_operation) else audit_internal.statement_recording_sql(tracked, event_operation) end,
        audit_internal.org_naming_sql(tracked, event_operation),
        E'\n    else\n        ' || case when types is not null then audit_internal.fallback_sql(tracked, event_operation) end,
        E'\n    end if;\n    if ',
        case when in_bulk then 'recorded_rows and ' when not by_row then 'found and ' end,
        E'audit_internal.should_notify() then\n        notify pgtrail;\n    end if;',
        audit_internal.trigger_ending_sql(tracked, event_operation)
    );
end
$$;

comment on function audit_internal.trigger_body_sql(audit.tracked_table, text) is
    'The body of a tracked table''s trigger function for INSERT, UPDATE, DELETE or TRUNCATE.';
