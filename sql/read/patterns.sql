-- Parsing the patterns and times of filters.

create or replace function audit_internal.glob(patterns text[])
returns text
language sql
immutable
strict
parallel safe
as $$
    -- Every character but letters, digits, underscores and stars is escaped.
    select '^('
        operator(pg_catalog.||) pg_catalog.translate(
            -- (Stars in a row count as one: a thousand took Postgres 15 seconds to find too complex.)
            pg_catalog.regexp_replace(
                pg_catalog.regexp_replace(
                    pg_catalog.array_to_string(patterns, pg_catalog.chr(1)),
                    '([^[:alnum:]_*' operator(pg_catalog.||) pg_catalog.chr(1) operator(pg_catalog.||) '])',
                    E'\\\\\\1',
                    'g'
                ),
                E'\\*+', '.*', 'g'
            ),
            pg_catalog.chr(1), '|'
        )
        operator(pg_catalog.||) ')$'
$$;

comment on function audit_internal.glob(text[]) is
    'Returns the regular expression that matches what any of the patterns matches; only `*` is special in a pattern: `key.*`.';

create or replace function audit_internal.check_patterns(patterns text[])
returns void
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
begin
    -- A regular expression of thousands of characters takes a gigabyte.
    if length(array_to_string(patterns, ' ')) > 2000 then
        raise exception using
            errcode = 'PT009',
            message = 'the patterns for actions, actors or resources are longer than 2000 characters',
            hint = 'Use * for what they have in common: key.*';
    end if;
    perform 'key.created' ~ audit_internal.glob(patterns);
exception
    when data_exception or program_limit_exceeded or insufficient_resources then
        raise exception using
            errcode = 'PT009',
            message = 'the patterns for actions, actors or resources are too complex',
            hint = 'Use fewer stars: key.*';
end
$$;

comment on function audit_internal.check_patterns(text[]) is 'Raises PT009 if patterns together are too long or too complex.';

create or replace function audit_internal.check_times(variadic moments timestamptz[])
returns void
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
declare
    moment timestamptz;
begin
    foreach moment in array moments
    loop
        -- (Its year has one to four digits in any time zone, which clients can show.)
        if moment not between timestamptz '0001-01-03 00:00:00+00' and timestamptz '9999-12-30 00:00:00+00' then
            raise exception using
                errcode = 'PT009',
                message = format('invalid time %s', case when isfinite(moment) then audit_internal.rfc3339(moment) else moment::text end),
                hint = 'Write a time between the years 1 and 9999, such as 2026-07-01.';
        end if;
    end loop;
end
$$;

comment on function audit_internal.check_times(variadic timestamptz[]) is
    'Raises PT009 for a time that is infinite or outside the years 1 to 9999. Null is accepted.';

create or replace function audit_internal.parse_time(description text)
returns timestamptz
language plpgsql
stable
strict
set search_path = pg_catalog, pg_temp
as $$
declare
    moment timestamptz;
begin
    if description ~ E'^\\s*\\d+\\s*[a-z]+\\s*$' then
        moment := now() - description::interval;
    else
        moment := description::timestamptz;
    end if;
    perform audit_internal.check_times(moment);
    return moment;
exception
    when data_exception then
        raise exception using
            errcode = 'PT009',
            message = format('invalid time "%s"', left(description, 100)),
            hint = 'Write 30m, 24h, 7d, 2w, today, yesterday, 2026-11-23 or 2026-11-23T09:30+01.';
end
$$;

comment on function audit_internal.parse_time(text) is
    'Parses a time: how long ago (`7d`), or anything that timestamptz accepts (`yesterday`, `2026-11-23`). PT009.';
