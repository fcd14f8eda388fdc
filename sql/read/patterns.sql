-- Patterns and times, as people write them in filters.

create or replace function audit_internal.glob(patterns text[])
returns text
language sql
immutable
strict
parallel safe
as $$
    -- Whatever is not a letter, a digit, an underscore or a star stands for itself.
    select '^('
        operator(pg_catalog.||) pg_catalog.translate(
            -- (Stars in a row are one: a thousand of them took Postgres 15 seconds, and were too complex then.)
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
    'The regular expression that matches what any of the patterns does; in a pattern only `*` is special: `key.*`.';

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

comment on function audit_internal.check_patterns(text[]) is 'Raises PT009 if patterns are too long, all together, or too complex to be searched with.';

create or replace function audit_internal.check_moments(variadic moments timestamptz[])
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
        -- (In any time zone its year has one to four digits: what clients can show.)
        if moment not between timestamptz '0001-01-03 00:00:00+00' and timestamptz '9999-12-30 00:00:00+00' then
            raise exception using
                errcode = 'PT009',
                message = format('invalid time %s', case when isfinite(moment) then audit_internal.rfc3339(moment) else moment::text end),
                hint = 'Write a time between the years 1 and 9999, such as 2026-07-01.';
        end if;
    end loop;
end
$$;

comment on function audit_internal.check_moments(variadic timestamptz[]) is
    'Raises PT009 for a time that is infinite, before Christ, or beyond the year 9999; null: there is none.';

create or replace function audit_internal.moment(description text)
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
    perform audit_internal.check_moments(moment);
    return moment;
exception
    when data_exception then
        raise exception using
            errcode = 'PT009',
            message = format('invalid time "%s"', left(description, 100)),
            hint = 'Write 30m, 24h, 7d, 2w, today, yesterday, 2026-11-23 or 2026-11-23T09:30+01.';
end
$$;

comment on function audit_internal.moment(text) is
    'A time as people write it: how long ago (`7d`), or anything that timestamptz takes (`yesterday`, `2026-11-23`). PT009.';
