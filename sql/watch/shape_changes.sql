-- What was altered about a tracked table, by whom and how: an event says what changed.

create or replace function audit_internal.shape_difference(was jsonb, becomes jsonb, rewritten boolean)
returns table (before jsonb, after jsonb)
language sql
immutable
as $$
    with part as (
        select name, was -> name as was, becomes -> name as becomes
        from pg_catalog.jsonb_object_keys(was || becomes) as name
        where name <> 'oid'
    ),
    entry as (
        select
            part.name as part,
            named.name,
            was #>> array[named.name, '0'] as was,
            becomes #>> array[named.name, '0'] as becomes,
            rewritten and was #> array[named.name, '2'] <> becomes #> array[named.name, '2'] as is_rewritten
        from part
        cross join lateral pg_catalog.jsonb_object_keys(coalesce(was, '{}') || coalesce(becomes, '{}')) as named (name)
        where pg_catalog.jsonb_typeof(becomes) = 'object'
            and (
                (was #> array[named.name, '0'], was #> array[named.name, '1'])
                    is distinct from (becomes #> array[named.name, '0'], becomes #> array[named.name, '1'])
                or (rewritten and was #> array[named.name, '2'] <> becomes #> array[named.name, '2'])
            )
    ),
    changed as (
        select
            part,
            pg_catalog.jsonb_object_agg(name, was) filter (where was is not null) as was,
            pg_catalog.jsonb_object_agg(
                name,
                becomes || case when was <> becomes then '' when is_rewritten then ', rewritten' when was = becomes then ', altered' else '' end
            ) filter (where becomes is not null) as becomes
        from entry
        group by part
        union all
        select name, was, becomes
        from part
        where pg_catalog.jsonb_typeof(becomes) <> 'object' and was is distinct from becomes
    )
    select
        coalesce(pg_catalog.jsonb_object_agg(part, coalesce(was, '{}')), '{}'),
        coalesce(pg_catalog.jsonb_object_agg(part, coalesce(becomes, '{}')), '{}')
    from changed
$$;

comment on function audit_internal.shape_difference(jsonb, jsonb, boolean) is
    'What of a shape became what: only the parts, and of those only the things, that differ. What differs by its digest alone is `altered`; whose values the statement wrote anew `rewritten`.';

create or replace function audit_internal.record_altered_tables(roots regclass[], command text)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
-- By which names would be others.
set quote_all_identifiers = off
set standard_conforming_strings = on
as $$
declare
    place record;
    gives_values boolean;
    difference record;
    noted regclass[] := '{}';
begin
    for place in
        select
            tracked.relation as root,
            tree.relid as relation,
            known.relation is not null and (known.shape ->> 'oid')::oid = tree.relid as is_known,
            coalesce(known.rewritten, false) as rewritten,
            tree.relid = tracked.relation and known.relatives <> audit_internal.relatives(tree.relid) as has_other_relatives,
            known.shape as was,
            audit_internal.current_shape(tree.relid, tracked.relation) as becomes
        from audit.tracked_table as tracked
        cross join lateral audit_internal.partition_tree(tracked.relation) as tree
        left join audit.table_shape as known on known.relation = tree.relid
        where tracked.relation = any (roots)
            and exists (select from pg_class where pg_class.oid = tree.relid)
        order by tracked.relation, tree.relid <> tracked.relation, tree.relid
    loop
        continue when place.is_known and place.was = place.becomes and not place.rewritten and not place.has_other_relatives;
        insert into audit.table_shape (relation, root, shape, relatives)
        values (
            place.relation,
            place.root,
            place.becomes,
            case when place.relation = place.root then audit_internal.relatives(place.relation) else '{}' end
        )
        on conflict on constraint table_shape_pkey do update
        set root = excluded.root, shape = excluded.shape, relatives = excluded.relatives, rewritten = false;
        continue when not place.is_known;

        select * into strict difference from audit_internal.shape_difference(place.was, place.becomes, place.rewritten);
        gives_values := place.rewritten or exists (
            select
            from jsonb_each(place.becomes -> 'columns') as present (name, entry)
            where (present.entry -> 3)::boolean and not place.was -> 'columns' ? present.name
                -- (Not one that was renamed.)
                and not exists (
                    select from jsonb_each(place.was -> 'columns') as known (name, entry)
                    where known.entry -> 4 = present.entry -> 4
                )
        );
        -- What a statement does to a table it does to its partitions.
        continue when (difference.after = '{}' and not gives_values) or place.root = any (noted);
        noted := noted || case when place.relation = place.root then place.root end;
        perform audit.record(
            'audit.table_altered',
            'tracked_table',
            audit_internal.qualified_name(place.root),
            audit_internal.qualified_name(place.root),
            difference.before,
            difference.after
                || jsonb_strip_nulls(jsonb_build_object(
                    'command', command,
                    'partition', case when place.relation <> place.root then audit_internal.qualified_name(place.relation) end,
                    'rewritten', case when gives_values then true end
                ))
        );
    end loop;
end
$$;

comment on function audit_internal.record_altered_tables(regclass[], text) is
    'Compares tracked tables, and their partitions, with what audit.table_shape knows of them, and records what was altered since, as an event audit.table_altered.';

create or replace function audit_internal.watch_table(relation regclass)
returns void
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
set quote_all_identifiers = off
set standard_conforming_strings = on
set jit = off
as $$
begin
    perform audit_internal.record_altered_tables(array[relation], null);
    perform audit_internal.record_trigger_changes(array[relation]);
end
$$;

comment on function audit_internal.watch_table(regclass) is
    'Records what happened to a tracked table and to pgtrail''s triggers on it since the last look, where no event trigger saw it; of one that was not known, remembers what it is like.';

create or replace function audit_internal.tables_with_own_types()
returns setof regclass
language sql
stable
as $$
    select tracked.relation
    from audit.tracked_table as tracked
    where exists (
        select
        from pg_catalog.pg_attribute
        where attrelid = tracked.relation and attnum > 0 and not attisdropped and atttypid >= 16384
    )
$$;

comment on function audit_internal.tables_with_own_types() is 'The tracked tables with columns of types that people made.';

create or replace function audit_internal.tables_with_other_relatives()
returns setof regclass
language sql
stable
as $$
    select tracked.relation
    from audit.tracked_table as tracked
    join audit.table_shape as known on known.relation = tracked.relation
    join pg_catalog.pg_class on pg_class.oid = tracked.relation
    -- (Most tables have none, and had none.)
    where (
            pg_class.relhassubclass
            or known.relatives <> '{"parents": [], "children": []}'
            or exists (select from pg_catalog.pg_inherits where inhrelid = tracked.relation)
        )
        and known.relatives <> audit_internal.relatives(tracked.relation)
$$;

comment on function audit_internal.tables_with_other_relatives() is
    'The tracked tables that inherit, or that others inherit from, in another way than when they were last seen: a statement about the other table is one about them.';
