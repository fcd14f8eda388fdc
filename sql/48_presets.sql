-- How a preset (sql/presets/) spans the versions of an application: what a version lacks is left out.

create or replace function audit.present_columns(relation regclass, names text[])
returns text[]
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
    select array(
        select name
        from unnest(names) with ordinality as wanted (name, position)
        where audit.columns_of_secret(relation, name) <@ audit.column_names(relation)
        order by position
    )
$$;

comment on function audit.present_columns(regclass, text[]) is
    'Those of the names that are columns of the table, paths into one, or `value when key` of two, in their order.';

create or replace function audit.is_present_step(relation regclass, step text)
returns boolean
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
    names text[] := parse_ident(step);
    place regclass := case cardinality(names) when 1 then relation else audit.named_table(names, relation) end;
begin
    return place is not null and audit.column_number(place, names[cardinality(names)]) is not null;
end
$$;

comment on function audit.is_present_step(regclass, text) is
    'Whether a step of a way to an organization (column, table.column or schema.table.column) is there.';

create or replace function audit.present_ways(relation regclass, org text)
returns text
language sql
stable
security definer
set search_path = pg_catalog, pg_temp
set quote_all_identifiers = off
set standard_conforming_strings = on
as $$
    select string_agg(way.part, ', ' order by way.number)
    from audit.split_unquoted(org, ',') as way (part, number)
    where (
        select bool_and(audit.is_present_step(relation, step.part))
        from audit.split_unquoted(way.part, '->') as step (part, number)
    )
$$;

comment on function audit.present_ways(regclass, text) is
    'Those of the ways to an organization whose tables and columns are there; null: none.';

create or replace function audit.present_label(relation regclass, label text)
returns text
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
    return case
        when audit.is_path(relation, label) then (
            select string_agg(audit.present_ways(relation, part), ' + ' order by number) from audit.split_unquoted(label, E'\\+')
        )
        else (audit.present_columns(relation, array[label]))[1]
    end;
end
$$;

comment on function audit.present_label(regclass, text) is
    'A label, or those of its parts whose tables and columns are there; null: none.';

drop function if exists audit.track_present(regclass, text, text, text, text, text[], text[], text[], boolean);

create or replace function audit.track_present(
    relation regclass,
    resource text,
    category text,
    org text default null,
    label text default null,
    ignore text[] default '{}',
    secret text[] default '{}',
    reveal text[] default '{}',
    personal boolean default null,
    actor text default null
)
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
set quote_all_identifiers = off
set standard_conforming_strings = on
as $$
begin
    if relation is null then
        return;
    end if;
    perform audit.track(
        relation,
        resource,
        category,
        org => audit.present_ways(relation, org),
        label => audit.present_label(relation, label),
        ignore => audit.present_columns(relation, ignore),
        secret => audit.present_columns(relation, secret),
        reveal => audit.present_columns(relation, reveal),
        personal => personal,
        actor => (audit.present_columns(relation, array[actor]))[1]
    );
end
$$;

comment on function audit.track_present(regclass, text, text, text, text, text[], text[], text[], boolean, text) is
    'As audit.track(), for whatever of it the version at hand has: columns and ways to the organization that are not there are left out, and nothing is done where relation is null, as to_regclass() gives it for a table that is not there.';

create or replace function audit.rule_present(
    relation regclass,
    action text,
    category text,
    operation text,
    condition text default null,
    needs text[] default '{}'
)
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
set quote_all_identifiers = off
set standard_conforming_strings = on
as $$
#variable_conflict use_variable
begin
    if relation is null or audit.present_columns(relation, needs) <> needs then
        return;
    end if;
    -- Each rule compiles its table, which takes longer than to look.
    if not exists (
        select
        from audit.rule as known
        where known.relation = rule_present.relation
            and known.operation = rule_present.operation
            and known.action = rule_present.action
            and known.category = rule_present.category
            and known.condition is not distinct from rule_present.condition
    ) then
        perform audit.rule(relation, action, category, operation, condition);
    end if;
end
$$;

comment on function audit.rule_present(regclass, text, text, text, text, text[]) is
    'As audit.rule(), where the table is there (relation is not null) and has the columns that the condition needs.';

create or replace function audit.check_preset(preset text, relations regclass[])
returns void
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
    if num_nonnulls(variadic relations) = 0 then
        raise exception using
            errcode = 'PT040',
            message = format('none of the tables of %s is here', preset),
            hint = format('Say in which schema they are: pgtrail preset %s --schema …', preset);
    end if;
end
$$;

comment on function audit.check_preset(text, regclass[]) is
    'Raises PT040 if none of the tables that a preset looks for is found by the search_path.';
