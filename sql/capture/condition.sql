-- A rule's condition: what somebody writes is parsed, and what Postgres made of it is compiled. It is never run or planned
-- before everything that it needs is known.

create or replace function audit_internal.condition_frame(relation regclass, row_operation text, condition text)
returns text
language sql
stable
as $$
    -- (A line break ends a comment that the condition may end in.)
    select pg_catalog.concat(
        'create function audit_internal."parsed condition"() returns boolean language sql begin atomic select (',
        condition,
        E'\n) as matches from ',
        pg_catalog.concat_ws(
            ', ',
            case when row_operation <> 'INSERT' then nulls || 'as old' end,
            case when row_operation <> 'DELETE' then nulls || 'as new' end
        ),
        '; end'
    )
    from (
        select pg_catalog.concat(
            '(select ', pg_catalog.string_agg(pg_catalog.concat('null::', audit_internal.plain_type(type_oid), ' as ', pg_catalog.quote_ident(name)), ', ' order by number), ') '
        )
        from audit_internal.live_columns(relation)
        where has_value
    ) as row_of_nulls (nulls)
$$;

comment on function audit_internal.condition_frame(regclass, text, text) is
    'The text of a function that returns what a condition says of rows as they are recorded.';

create or replace function audit_internal.parsed_text(relation regclass, row_operation text, condition text, out expression text, out needs text)
language plpgsql
set search_path = pg_catalog, pg_temp
-- Literals are read back as they are written.
set datestyle = 'ISO'
set intervalstyle = 'postgres'
set timezone = 'UTC'
set extra_float_digits = 1
set standard_conforming_strings = on
as $$
declare
    empty text;
    filled text;
    opening integer;
    closing integer;
begin
    -- Each undone as soon as it is known: there is never such a function.
    begin
        execute audit_internal.condition_frame(relation, row_operation, 'true');
        empty := pg_get_function_sqlbody(to_regprocedure('audit_internal."parsed condition"()'));
        raise sqlstate 'PT062';
    exception
        when sqlstate 'PT062' then
            null;
    end;
    begin
        execute audit_internal.condition_frame(relation, row_operation, condition);
        filled := pg_get_function_sqlbody(to_regprocedure('audit_internal."parsed condition"()'));
        needs := audit_internal.dependencies_of('pg_proc'::regclass, to_regprocedure('audit_internal."parsed condition"()'), relation);
        raise sqlstate 'PT062';
    exception
        when sqlstate 'PT062' then
            null;
    end;
    -- Between what stands before `true` and what stands behind it.
    opening := strpos(empty, 'true') - 1;
    closing := length(empty) - opening - length('true');
    if left(filled, opening) = left(empty, opening) and right(filled, closing) = right(empty, closing) then
        expression := substr(filled, opening + 1, length(filled) - opening - closing);
    end if;
end
$$;

comment on function audit_internal.parsed_text(regclass, text, text) is
    'A condition as Postgres writes it (null: it is not one expression), and what it needs besides the row and Postgres'' own functions and operators (null: nothing).';

create or replace function audit_internal.dependencies_of(object_class oid, object_id oid, relation regclass)
returns text
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
    -- What Postgres is born with is pinned, and nothing that depends on it is noted.
    select pg_describe_object(refclassid, refobjid, refobjsubid)
    from pg_depend
    where classid = object_class
        and objid = object_id
        and (
            refclassid in ('pg_proc'::regclass, 'pg_operator'::regclass, 'pg_class'::regclass, 'pg_opclass'::regclass)
            or (
                refclassid = 'pg_type'::regclass
                -- To become a domain's value runs its checks.
                and (not audit_internal.is_trusted_type(refobjid) or exists (select from pg_type where oid = refobjid and typtype = 'd'))
            )
        )
    order by 1
    limit 1
$$;

comment on function audit_internal.dependencies_of(oid, oid, regclass) is
    'Something that an object needs and that is not Postgres'' own, such as `function public.f()`; null: nothing.';

create or replace function audit_internal.reads_other_rows(condition text)
returns boolean
language sql
immutable
as $$
    -- Functions that Postgres itself has, and that read, write or wait.
    select condition collate "C" ~* '\m(select|table|ts_stat|ts_rewrite|\w*_to_xml\w*|lo_\w+|pg_read\w*|pg_ls_\w*|pg_stat_file|set_config|setval|nextval|pg_notify|pg_sleep\w*|pg_\w*advisory\w*|pg_logical\w*|pg_cancel\w*|pg_terminate\w*|dblink\w*)\M|U&'
$$;

comment on function audit_internal.reads_other_rows(text) is
    'Whether a condition contains a query, or calls a function of Postgres'' that does more than compute.';

create or replace function audit_internal.tokens_of(expression text)
returns table (number bigint, token text, name text)
language sql
immutable
set search_path = pg_catalog, pg_temp
set standard_conforming_strings = on
as $$
    select
        row_number() over (order by found.number),
        found.token[1],
        case
            when found.token[1] like '"%' then replace(substr(found.token[1], 2, length(found.token[1]) - 2), '""', '"')
            when found.token[1] ~ '^[[:alpha:]_]|^[^[:ascii:]]' then lower(found.token[1] collate "C")
        end
    from regexp_matches(
        expression,
        '(''(?:''''|[^''])*''|"(?:""|[^"])*"|(?:[[:alpha:]_]|[^[:ascii:]])(?:[[:alnum:]_$]|[^[:ascii:]])*|[^[:space:]])',
        'g'
    ) with ordinality as found (token, number)
$$;

comment on function audit_internal.tokens_of(text) is
    'The pieces of an SQL expression without comments and escapes, white space left out: strings, words, and signs one by one; name: what a word or a quoted identifier names.';

create or replace function audit_internal.foreign_name_in(condition text)
returns text
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
    -- Reading a text as a type's value runs that type's input function while the condition is parsed, a domain's checks too.
    -- So nothing is parsed that names something outside of pg_catalog, but for a column of the row, or a superuser's type.
    with word as (
        select
            name,
            lag(token) over in_order is not distinct from '.' as is_qualified,
            lead(token) over in_order is not distinct from '.' as qualifies,
            lead(name, 2) over in_order as qualified_name,
            lead(token, 3) over in_order is not distinct from '.' as in_three_parts
        from audit_internal.tokens_of(condition)
        window in_order as (order by number)
    )
    select coalesce(name || '.' || qualified_name, name)
    from word
    where name is not null
        and case
            when is_qualified then false
            when not qualifies then exists (
                select from pg_type where typname = word.name::name and typnamespace = pg_my_temp_schema()
            )
            when in_three_parts then true
            when name in ('old', 'new', 'pg_catalog') then false
            else not exists (
                select
                from pg_type
                join pg_namespace on pg_namespace.oid = typnamespace
                where nspname = word.name::name and typname = qualified_name::name and audit_internal.is_trusted_type(pg_type.oid)
            )
        end
    limit 1
$$;

comment on function audit_internal.foreign_name_in(text) is
    'A name in a condition that is of another schema than pg_catalog, or of a temporary type; null: there is none.';

create or replace function audit_internal.condition_syntax_error(condition text)
returns text
language sql
stable
set search_path = pg_catalog, pg_temp
set standard_conforming_strings = on
as $$
    select case
        -- (Two statements would be run, not parsed.)
        when condition ~ ';' then 'a condition is one expression, without a semicolon (in a text: chr(59))'
        -- (The first of them stands outside of the strings, whatever comes then.)
        when regexp_replace(condition, '''(''''|[^''])*''|"(""|[^"])*"', '''''', 'g') collate "C" ~* '--|/[*]|[$]|\m(e|u&)'''
            then 'a condition has no comments, no $ and no escapes (E''…'', U&''…'') outside of its texts'
        when audit_internal.reads_other_rows(condition) then 'a condition looks at old and new alone, without queries'
        else 'it names ' || audit_internal.foreign_name_in(condition)
    end
$$;

comment on function audit_internal.condition_syntax_error(text) is
    'Why a condition is not even parsed; null: it may be.';

create or replace function audit_internal.parse_condition(
    relation regclass, row_operation text, condition text, out expression text, out problem text
)
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
set quote_all_identifiers = off
set standard_conforming_strings = on
as $$
declare
    parsed record;
begin
    if condition is null then
        return;
    end if;
    problem := case
        when row_operation = 'INSERT' and condition collate "C" ~* '\mold\M\s*\.' then 'an INSERT has no old row'
        when row_operation = 'DELETE' and condition collate "C" ~* '\mnew\M\s*\.' then 'a DELETE has no new row'
    end;
    if problem is not null then
        return;
    end if;
    -- Until it stays as it is: what is written back is read in the same way, and closes no bracket that it has not opened.
    for attempt in 1 .. 4 loop
        problem := audit_internal.condition_syntax_error(coalesce(expression, condition));
        if problem is not null then
            expression := null;
            return;
        end if;
        parsed := audit_internal.parsed_text(relation, row_operation, coalesce(expression, condition));
        if parsed.needs is not null then
            problem := 'it needs ' || parsed.needs;
        elsif parsed.expression is null or (attempt = 4 and parsed.expression <> expression) then
            problem := 'a condition is one expression';
        end if;
        if problem is not null then
            expression := null;
            return;
        end if;
        exit when parsed.expression = expression;
        expression := parsed.expression;
    end loop;
exception
    when syntax_error_or_access_rule_violation or data_exception or feature_not_supported or invalid_schema_name then
        expression := null;
        problem := sqlerrm;
end
$$;

comment on function audit_internal.parse_condition(regclass, text, text) is
    'A rule''s condition as it is compiled for a table, or why it can''t be: it looks at nothing but old and new, by nothing but Postgres'' own functions and operators. Columns whose type somebody else than a superuser owns are texts.';

create or replace function audit_internal.check_rule()
returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
set quote_all_identifiers = off
set standard_conforming_strings = on
as $$
begin
    select expression, problem
    into new.expression, new.problem
    from audit_internal.parse_condition(new.relation, new.operation, new.condition);
    -- A change of the table may make a rule invalid that was there: it stays, with its problem.
    if new.problem is not null and (tg_op = 'INSERT' or new.condition is distinct from old.condition) then
        raise exception using
            errcode = 'PT006',
            message = format('the rule %s on %s has no valid condition: %s', new.action, new.relation, new.problem),
            hint = 'Write a boolean SQL expression over old and new, by Postgres'' own functions and operators, such as: new.name is distinct from old.name';
    end if;
    return new;
end
$$;

comment on function audit_internal.check_rule() is 'Parses a rule''s condition, and refuses one that can''t be compiled. PT006.';

create or replace trigger check_rule
    before insert or update on audit.rule
    for each row execute function audit_internal.check_rule();
