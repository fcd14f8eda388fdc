-- What organizations are called: noted when the table of organizations is written to.

create or replace function audit_internal.names_orgs(tracked audit.tracked_table)
returns boolean
language plpgsql
stable
as $$
begin
    return tracked.label is not null
        and not audit_internal.has_path(tracked.relation, 'label')
        and audit_internal.identity_columns(tracked.relation) = array[tracked.org]
        and not exists (
            select
            from audit_internal.live_columns(tracked.relation) as live
            join pg_catalog.pg_type on pg_type.oid = live.type_oid
            where live.name in (tracked.org, tracked.label)
                and (audit_internal.is_recorded_as_text(live.type_oid) or pg_type.typcategory not in ('S', 'N', 'U'))
        );
end
$$;

comment on function audit_internal.names_orgs(audit.tracked_table) is
    'Whether a tracked table is that of the organizations, with a label: its organization is its key.';

create or replace function audit_internal.org_name_function(relation regclass)
returns text
language sql
stable
as $$
    select audit_internal.compiled_function_name('name', audit_internal.qualified_name(relation))
$$;

comment on function audit_internal.org_name_function(regclass) is
    'The name of the function in schema audit that notes what an organization is called.';

create or replace function audit_internal.create_org_name_function(tracked audit.tracked_table, recorder name)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    if not audit_internal.names_orgs(tracked) then
        return;
    end if;
    -- (For whoever records this table alone: whose it is says what its organizations are called.)
    perform audit_internal.create_compiled_function(
        audit_internal.org_name_function(tracked.relation), 'named_id text, given_label text', 'void', '{}',
        E'begin\n    insert into audit.org_label as known (org_id, label)\n    select named_id, given_label\n    where num_nulls(named_id, given_label) = 0\n'
        '    on conflict (org_id) do update\n    set label = excluded.label\n    where known.label <> excluded.label;\nend\n',
        'audit_owner',
        format('Notes what an organization in %s is called. Compiled.', tracked.name)
    );
    execute format('grant execute on function audit_internal.%I(text, text) to %I', audit_internal.org_name_function(tracked.relation), recorder);
end
$$;

comment on function audit_internal.create_org_name_function(audit.tracked_table, name) is
    'Makes the function that notes what an organization is called, where a table is that of the organizations.';

create or replace function audit_internal.org_naming_sql(tracked audit.tracked_table, event_operation text)
returns text
language plpgsql
stable
as $$
begin
    return case when event_operation in ('INSERT', 'UPDATE') and audit_internal.names_orgs(tracked) then pg_catalog.format(
        E'\n    perform audit_internal.%I(%s, %s)%s;',
        audit_internal.org_name_function(tracked.relation),
        audit_internal.org_sql(tracked, 'new', 'INSERT'),
        audit_internal.label_sql(tracked, 'new', 'INSERT'),
        case when not audit_internal.records_by_row(tracked, event_operation) then ' from new_rows as new' end
    ) end;
end
$$;

comment on function audit_internal.org_naming_sql(audit.tracked_table, text) is
    'SQL that notes what the organizations are called that a statement wrote. Null: the table is not theirs.';

create or replace function audit_internal.name_known_orgs(tracked_relation regclass)
returns void
language plpgsql
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
    if not audit_internal.names_orgs(tracked) or not has_table_privilege(audit_internal.database_actor_id()::name, tracked_relation, 'select') then
        return;
    end if;
    for leaf in
        select pg_class.oid
        from pg_class
        where relkind = 'r' and pg_class.oid in (select relid from audit_internal.partition_tree(tracked_relation))
    loop
        execute format(
            'select audit_internal.%I(org_id, label) from ('
            'select distinct on (1) %s, %s from audit_internal.%I(%L, ''(0,0)'', ''(4294967295,0)'') as new (%s)) as named (org_id, label)',
            audit_internal.org_name_function(tracked_relation),
            audit_internal.org_sql(tracked, 'new', 'INSERT'), audit_internal.label_sql(tracked, 'new', 'INSERT'),
            audit_internal.read_function(tracked_relation), leaf::oid, audit_internal.plain_columns(tracked_relation)
        );
    end loop;
end
$$;

comment on function audit_internal.name_known_orgs(regclass) is
    'Notes what the organizations are called whose rows were there before their table was tracked, if the caller may read it.';

create or replace function audit_internal.label_of_org(of_org text)
returns text
language sql
stable
as $$
    select org_label.label from audit.org_label where org_label.org_id = of_org
$$;

comment on function audit_internal.label_of_org(text) is
    'What an organization is called, if the present role may see it. Null: nobody knows, as on a hub, or where the table of organizations is not tracked.';
