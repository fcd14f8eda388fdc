-- Reading. Every view runs as its reader, over the row-level security of audit.event.

create or replace function audit.row_before(event audit.event)
returns jsonb
language sql
immutable
parallel safe
as $$
    select case
        -- (Of what another tool recorded, as it is.)
        when event.operation operator(pg_catalog.=) 'UPDATE' and event.changed is not null and event.imported_from is null then
            -- (What was null is not in before.)
            event.after
            operator(pg_catalog.||) pg_catalog.jsonb_object(
                event.changed, pg_catalog.array_fill(null::pg_catalog.text, array[pg_catalog.cardinality(event.changed)])
            )
            operator(pg_catalog.||) event.before
        else event.before
    end
$$;

comment on function audit.row_before(audit.event) is
    'The whole row before the change: of an UPDATE audit.event.before holds only the fields that moved. Null: there was none.';

create or replace function audit.told_fields(before jsonb, after jsonb, changed text[])
returns setof text
language sql
immutable
parallel safe
as $$
    select pg_catalog.unnest(changed)
    union all
    -- A row that came or went: every field that had a value.
    select present.key
    from pg_catalog.jsonb_each(coalesce(before, after)) as present
    where changed is null and present.value operator(pg_catalog.<>) 'null'
$$;

comment on function audit.told_fields(jsonb, jsonb, text[]) is
    'The names of the fields that changed or, of a row that came or went, that had a value.';

create or replace function audit.told_details(before jsonb, after jsonb, changed text[])
-- (One row; but as a set, which the planner sees through in a FROM clause.)
returns setof jsonb
language sql
stable
parallel safe
as $$
    select pg_catalog.jsonb_object_agg(
        name, pg_catalog.jsonb_build_object('before', before operator(pg_catalog.->) name, 'after', after operator(pg_catalog.->) name)
    )
    from audit.told_fields(before, after, changed) as name
$$;

comment on function audit.told_details(jsonb, jsonb, text[]) is 'audit.details(), for a FROM clause.';

create or replace function audit.field_details(field text, before jsonb, after jsonb)
returns jsonb
language sql
stable
parallel safe
as $$
    select pg_catalog.jsonb_build_object(
        field, pg_catalog.jsonb_build_object('before', before operator(pg_catalog.->) field, 'after', after operator(pg_catalog.->) field)
    )
$$;

comment on function audit.field_details(text, jsonb, jsonb) is
    'audit.details() of one field: an expression, where most events need no more, for it costs a fifth of an aggregate.';

create or replace function audit.details(before jsonb, after jsonb, changed text[])
returns jsonb
language sql
stable
parallel safe
as $$
    select case
        when pg_catalog.cardinality(changed) operator(pg_catalog.=) 1 then audit.field_details(changed[1], before, after)
        else (select told from audit.told_details(before, after, changed) as told)
    end
$$;

comment on function audit.details(jsonb, jsonb, text[]) is
    'The changed fields alone: `{"rpm_limit": {"before": 60, "after": 120}}`.';

create or replace function audit.cut_value(value jsonb, longest integer)
returns jsonb
language sql
immutable
parallel safe
as $$
    -- Without a subquery, so that the planner sees through it.
    select case
        when pg_catalog.jsonb_typeof(value) operator(pg_catalog.=) 'string' then
            case
                when pg_catalog.length(value operator(pg_catalog.#>>) '{}') operator(pg_catalog.>) longest then
                    pg_catalog.to_jsonb(pg_catalog.left(value operator(pg_catalog.#>>) '{}', longest))
                else value
            end
        when pg_catalog.length(value::pg_catalog.text) operator(pg_catalog.>) longest then pg_catalog.to_jsonb(pg_catalog.left(value::pg_catalog.text, longest))
        else value
    end
$$;

comment on function audit.cut_value(jsonb, integer) is
    'The value, or if it is longer than so many characters the beginning of its text.';

create or replace function audit.changed_members(field text, before jsonb, after jsonb, longest integer)
returns jsonb
language sql
immutable
parallel safe
set search_path = pg_catalog, pg_temp
as $$
    with recursive part as (
        select field as name, before as was, after as becomes, 0 as depth
        union all
        select part.name || '.' || member.key, part.was -> member.key, part.becomes -> member.key, part.depth + 1
        from part
        cross join lateral (
            select pg_catalog.jsonb_object_keys(case pg_catalog.jsonb_typeof(part.was) when 'object' then part.was end)
            union
            select pg_catalog.jsonb_object_keys(case pg_catalog.jsonb_typeof(part.becomes) when 'object' then part.becomes end)
        ) as member (key)
        where pg_catalog.jsonb_typeof(part.was) = 'object'
            and pg_catalog.jsonb_typeof(part.becomes) = 'object'
            and part.depth < 12
            and part.was -> member.key is distinct from part.becomes -> member.key
    )
    select pg_catalog.jsonb_object_agg(
        part.name,
        pg_catalog.jsonb_build_object(
            'before', audit.cut_value(part.was, longest), 'after', audit.cut_value(part.becomes, longest)
        )
    )
    from part
    where pg_catalog.jsonb_typeof(part.was) is distinct from 'object'
        or pg_catalog.jsonb_typeof(part.becomes) is distinct from 'object'
        -- What differs in it is redacted, or too deep.
        or part.was is not distinct from part.becomes
        or part.depth = 12
$$;

comment on function audit.changed_members(text, jsonb, jsonb, integer) is
    'What differs between two objects: the members that do, to a depth of 12, named `config.limits.rpm`, as audit.short_details() has them.';

create or replace function audit.short_details(before jsonb, after jsonb, changed text[], longest integer)
-- (One row; but as a set, which the planner sees through in a FROM clause.)
returns setof jsonb
language sql
immutable
parallel safe
as $$
    select pg_catalog.jsonb_object_agg(part.key, part.value)
    from audit.told_fields(before, after, changed) as field
    cross join lateral pg_catalog.jsonb_each(
        -- (Most fields are no objects, and a recursion costs more than all else.)
        case
            when pg_catalog.jsonb_typeof(before operator(pg_catalog.->) field) operator(pg_catalog.=) 'object'
                and pg_catalog.jsonb_typeof(after operator(pg_catalog.->) field) operator(pg_catalog.=) 'object'
            then
                audit.changed_members(field, before operator(pg_catalog.->) field, after operator(pg_catalog.->) field, longest)
            else pg_catalog.jsonb_build_object(
                field,
                pg_catalog.jsonb_build_object(
                    'before', audit.cut_value(before operator(pg_catalog.->) field, longest), 'after', audit.cut_value(after operator(pg_catalog.->) field, longest)
                )
            )
        end
    ) as part
$$;

comment on function audit.short_details(jsonb, jsonb, text[], integer) is
    'audit.details() for a list: of objects only the members that changed, and no value longer than so many characters.';

create or replace function audit.event_name(event audit.event)
returns text
language sql
immutable
parallel safe
as $$
    select case when event.node is null then event.id::pg_catalog.text else event.node operator(pg_catalog.||) ':' operator(pg_catalog.||) event.node_id::pg_catalog.text end
$$;

comment on function audit.event_name(audit.event) is
    'What people call an event, and commands take: its id; on a hub, of node eu1''s event 42, eu1:42.';

create or replace function audit.event_id(p_name text)
returns bigint
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
    -- (As evt_eu1_42 stands in a payload, too.)
    parts text[] := regexp_match(p_name, '^(?:evt_)?(?:([a-z][a-z0-9_]*)[:_])?([0-9]{1,19})$');
begin
    if parts is null or parts[2]::numeric > 9223372036854775807 then
        raise exception using
            errcode = 'PT047',
            message = format('"%s" is no event id', left(p_name, 100)),
            hint = 'Write it as in the first column of pgtrail log: 42, or on a hub eu1:42.';
    end if;
    return case
        when parts[1] is null then parts[2]::bigint
        -- (Where there are no nodes there is no index of their events, either.)
        when audit.has_nodes() then (select min(event.id) from audit.event where event.node = parts[1] and event.node_id = parts[2]::bigint)
    end;
end
$$;

comment on function audit.event_id(text) is
    'The id of the event that people call so: 42, eu1:42, evt_42, evt_eu1_42; null: there is none that the present role may see. PT047.';

create or replace view audit.log
with (security_invoker = true) as
select
    event.id,
    event.occurred_at,
    event.action,
    event.category,
    coalesce(event.actor_label, event.actor_id) as actor,
    coalesce(event.resource_label, event.resource_id) as resource,
    audit.details(event.before, event.after, event.changed) as details,
    event.org_id,
    event.actor_type,
    event.actor_id,
    event.actor_ip,
    event.resource_type,
    event.resource_id,
    event.request_id,
    event.reason,
    event.operation,
    event.changed,
    event.imported_from,
    event.node,
    event.node_id,
    (select org_label.label from audit.org_label where org_label.org_id = event.org_id) as org_label
from audit.event;

comment on view audit.log is
    'The log as people read it. Order it by occurred_at desc, id desc, and page by (occurred_at, id) < (…, …).';

create or replace view audit.diff
with (security_invoker = true) as
select
    event.id as event_id,
    event.occurred_at,
    event.org_id,
    event.action,
    field.name as field,
    row.before -> field.name as before,
    event.after -> field.name as after,
    case
        when event.changed is not null then field.name = any (event.changed)
        else coalesce(row.before -> field.name, event.after -> field.name) <> 'null'
    end as changed,
    event.node
from audit.event
cross join lateral (select audit.row_before(event) as before) as row
cross join lateral (
    select pg_catalog.jsonb_object_keys(row.before) as name
    union
    select pg_catalog.jsonb_object_keys(event.after)
) as field;

comment on view audit.diff is
    'One row for each field of an event: its value before and after, and whether it changed. A redacted field can have changed though both read "[redacted]".';

do $$
declare
    category_name text;
begin
    foreach category_name in array array[
        'api_keys', 'members', 'teams', 'organization', 'budgets', 'guardrails', 'plan', 'settings', 'data_policy',
        'profile', 'password'
    ]
    loop
        execute format(
            'create or replace view audit.%1$I with (security_invoker = true) as '
            'select * from audit.log where category = %1$L',
            category_name
        );
        execute format('comment on view audit.%I is %L', category_name, format('audit.log, category %s only.', category_name));
    end loop;
end
$$;

create or replace view audit.today
with (security_invoker = true) as
select *
from audit.log
where occurred_at >= pg_catalog.date_trunc('day', pg_catalog.now());

comment on view audit.today is 'audit.log since midnight in the session''s time zone.';

create or replace view audit.last_7_days
with (security_invoker = true) as
select *
from audit.log
where occurred_at >= pg_catalog.now() - interval '7 days';

comment on view audit.last_7_days is 'audit.log of the last 7 × 24 hours.';

create or replace view audit.last_30_days
with (security_invoker = true) as
select *
from audit.log
where occurred_at >= pg_catalog.now() - interval '30 days';

comment on view audit.last_30_days is 'audit.log of the last 30 × 24 hours.';

create or replace function audit.blanks()
returns text
language sql
immutable
parallel safe
as $$
    -- Control characters, Unicode's white space, and what has no width.
    select E'\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c\x0d\x0e\x0f\x10\x11\x12\x13\x14\x15\x16\x17\x18\x19\x1a\x1b\x1c\x1d\x1e\x1f \x7f'
        operator(pg_catalog.||) E'\u0085\u00a0\u00ad\u034f\u061c\u115f\u1160\u1680\u17b4\u17b5\u180e\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008'
        operator(pg_catalog.||) E'\u2009\u200a\u200b\u200c\u200d\u200e\u200f\u2028\u2029\u202a\u202b\u202c\u202d\u202e\u202f\u205f\u2060\u2061\u2062\u2063'
        operator(pg_catalog.||) E'\u2064\u2066\u2067\u2068\u2069\u206a\u206b\u206c\u206d\u206e\u206f\u2800\u3000\u3164\ufeff\uffa0\ufff9\ufffa\ufffb'
$$;

comment on function audit.blanks() is 'Characters that nobody sees at the beginning of a cell: controls, white space, and those without a width.';

create or replace function audit.spreadsheet_safe(cell text)
returns text
language sql
immutable
parallel safe
as $$
    -- By bytes, which costs a fifth of a regular expression; and letters, with which most cells begin, by the first look.
    select case
        when (cell collate pg_catalog."C" operator(pg_catalog.<) 'A' or cell collate pg_catalog."C" operator(pg_catalog.>=) E'\x7f')
            and (
                pg_catalog.left(cell, 1) collate pg_catalog."C" operator(pg_catalog.=) any (array[E'\t', E'\n', E'\r'])
                or pg_catalog.left(pg_catalog.ltrim(cell, audit.blanks()), 1) collate pg_catalog."C"
                    operator(pg_catalog.=) any (array['=', '+', '-', '@', '＝', '＋', '－', '＠', '﹦', '﹢', '﹣', '﹫'])
            )
            then '''' operator(pg_catalog.||) cell
        else cell
    end
$$;

comment on function audit.spreadsheet_safe(text) is
    'The cell, with an apostrophe before it where a spreadsheet would take it for a formula (OWASP, CSV injection): also after what it leaves out (white space, a byte order mark), and by full-width signs.';

create or replace function audit.rfc3339(moment timestamptz)
returns text
language sql
stable
strict
as $$
    -- (UTC by its distance: no name is looked up.)
    select pg_catalog.to_char(moment at time zone interval '0', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')
$$;

comment on function audit.rfc3339(timestamptz) is 'A time in UTC to the microsecond, as RFC 3339 writes it.';

create or replace function audit.spreadsheet_time(moment timestamptz)
returns text
language sql
stable
strict
as $$
    select pg_catalog.to_char(moment at time zone interval '0', 'YYYY-MM-DD"T"HH24:MI:SS.US')
$$;

comment on function audit.spreadsheet_time(timestamptz) is
    'A time in UTC to the microsecond, as ISO 8601 writes it without a zone: so LibreOffice takes it for a date and a time, in every locale.';

do $$
begin
    -- (Of an earlier version, whose columns are others.)
    if to_regclass('audit.export') is not null
        and not exists (select from pg_attribute where attrelid = to_regclass('audit.export') and attname = 'organization')
    then
        drop view audit.export;
    end if;
end
$$;

create or replace view audit.export
with (security_invoker = true) as
select
    event.id,
    -- Spelt out, so that no client's DateStyle or time zone changes a byte. (Excel takes the day for a date, and not both.)
    audit.spreadsheet_time(event.occurred_at) as timestamp_utc,
    pg_catalog.left(audit.spreadsheet_time(event.occurred_at), 10) as date_utc,
    audit.spreadsheet_safe(event.org_id) as org_id,
    -- (No join: with one all events would be sorted before the first is written.)
    audit.spreadsheet_safe(
        coalesce((select org_label.label from audit.org_label where org_label.org_id = event.org_id), event.org_id)
    ) as organization,
    audit.spreadsheet_safe(event.category) as category,
    audit.spreadsheet_safe(event.action) as action,
    audit.spreadsheet_safe(event.actor_type) as actor_type,
    audit.spreadsheet_safe(event.actor_id) as actor_id,
    audit.spreadsheet_safe(coalesce(event.actor_label, event.actor_id)) as actor,
    pg_catalog.host(event.actor_ip) as actor_ip,
    audit.spreadsheet_safe(event.user_agent) as user_agent,
    audit.spreadsheet_safe(event.request_id) as request_id,
    audit.spreadsheet_safe(event.reason) as reason,
    audit.spreadsheet_safe(event.resource_type) as resource_type,
    audit.spreadsheet_safe(event.resource_id) as resource_id,
    audit.spreadsheet_safe(coalesce(event.resource_label, event.resource_id)) as resource,
    event.operation,
    audit.spreadsheet_safe(event.table_name) as table_name,
    -- audit.details(), in sight of the planner: a function's own query is begun anew for each row.
    case
        when pg_catalog.cardinality(event.changed) = 1 then audit.field_details(event.changed[1], event.before, event.after)
        else (select told from audit.told_details(event.before, event.after, event.changed) as told)
    end as details,
    audit.spreadsheet_safe(event.db_role) as db_role,
    pg_catalog.host(event.client_addr) as client_addr,
    audit.spreadsheet_safe(event.application_name) as application_name,
    audit.spreadsheet_safe(event.imported_from) as imported_from,
    event.node,
    event.node_id
from audit.event
order by event.occurred_at, event.id;

comment on view audit.export is
    'Exactly the columns of the CSV, oldest first, safe to open in a spreadsheet: \copy (select * from audit.export) to ''audit.csv'' csv header';

create or replace function audit.spreadsheet_value(value jsonb)
returns text
language sql
immutable
parallel safe
as $$
    -- (A cell holds 32,767 characters at most: what is longer would go on in the next row.)
    select case
        when pg_catalog.jsonb_typeof(value) operator(pg_catalog.=) 'null' then null
        when pg_catalog.jsonb_typeof(value) operator(pg_catalog.<>) 'string' then pg_catalog.left(value operator(pg_catalog.#>>) '{}', 32000)
        else audit.spreadsheet_safe(pg_catalog.left(value operator(pg_catalog.#>>) '{}', 32000))
    end
        operator(pg_catalog.||) case when pg_catalog.length(value operator(pg_catalog.#>>) '{}') operator(pg_catalog.>) 32000 then '…' else '' end
$$;

comment on function audit.spreadsheet_value(jsonb) is
    'A value as a cell has it: text bare and safe to open, anything else as JSON; null empty; what is longer than 32,000 characters cut, with … at its end.';

create or replace view audit.export_fields
with (security_invoker = true) as
select
    event.id,
    audit.spreadsheet_time(event.occurred_at) as timestamp_utc,
    pg_catalog.left(audit.spreadsheet_time(event.occurred_at), 10) as date_utc,
    audit.spreadsheet_safe(event.org_id) as org_id,
    -- (No join: with one all events would be sorted before the first is written.)
    audit.spreadsheet_safe(
        coalesce((select org_label.label from audit.org_label where org_label.org_id = event.org_id), event.org_id)
    ) as organization,
    audit.spreadsheet_safe(coalesce(event.actor_label, event.actor_id)) as actor,
    audit.spreadsheet_safe(event.action) as action,
    audit.spreadsheet_safe(event.resource_type) as resource_type,
    audit.spreadsheet_safe(event.resource_id) as resource_id,
    audit.spreadsheet_safe(coalesce(event.resource_label, event.resource_id)) as resource,
    audit.spreadsheet_safe(field.key) as field,
    audit.spreadsheet_value(field.value -> 'before') as before,
    audit.spreadsheet_value(field.value -> 'after') as after,
    event.node,
    event.node_id
from audit.event
left join lateral audit.short_details(event.before, event.after, event.changed, 32001) as shown (details) on true
left join lateral pg_catalog.jsonb_each(shown.details) with ordinality as field (key, value, number) on true
order by event.occurred_at, event.id, field.number;

comment on view audit.export_fields is
    'A row for each field that an event tells of, for a spreadsheet, oldest first: of a JSON object each member that changed. An event without fields has a row with none. \copy (select * from audit.export_fields) to ''fields.csv'' csv header';

create or replace function audit.glob(patterns text[])
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

comment on function audit.glob(text[]) is
    'The regular expression that matches what any of the patterns does; in a pattern only `*` is special: `key.*`.';

create or replace function audit.check_patterns(patterns text[])
returns void
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
begin
    -- A regular expression of thousands of characters takes a gigabyte.
    if length(array_to_string(patterns, ' ')) > 2000 then
        raise exception using
            errcode = 'PT032',
            message = 'the patterns for actions, actors or resources are longer than 2000 characters',
            hint = 'Use * for what they have in common: key.*';
    end if;
end
$$;

comment on function audit.check_patterns(text[]) is 'Raises PT032 if patterns are too long, all together, to be searched with.';

drop function if exists audit.matches(audit.event, text[], text[], text[], text[], timestamptz, timestamptz, text);

create or replace function audit.matches(
    event audit.event,
    categories text[],
    actions text[],
    orgs text[],
    since timestamptz,
    until timestamptz
)
returns boolean
language sql
immutable
parallel safe
as $$
    -- Without a subquery, so that the planner sees through it.
    select (since is null or event.occurred_at operator(pg_catalog.>=) since)
        and (until is null or event.occurred_at operator(pg_catalog.<) until)
        and (orgs is null or event.org_id operator(pg_catalog.=) any (orgs))
        and (categories is null or event.category operator(pg_catalog.=) any (categories))
        and (actions is null or event.action operator(pg_catalog.~) audit.glob(actions))
$$;

comment on function audit.matches(audit.event, text[], text[], text[], timestamptz, timestamptz) is
    'Whether an event passes the filters, of which a null one lets all pass: categories and organizations by name, actions by pattern, since ≤ occurred_at < until.';

create or replace function audit.check_moments(variadic moments timestamptz[])
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
                errcode = 'PT085',
                message = format('invalid time %s', case when isfinite(moment) then audit.rfc3339(moment) else moment::text end),
                hint = 'Write a time between the years 1 and 9999, such as 2026-07-01.';
        end if;
    end loop;
end
$$;

comment on function audit.check_moments(variadic timestamptz[]) is
    'Raises PT085 for a time that is infinite, before Christ, or beyond the year 9999; null: there is none.';

create or replace function audit.moment(description text)
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
    perform audit.check_moments(moment);
    return moment;
exception
    when data_exception then
        raise exception using
            errcode = 'PT015',
            message = format('"%s" is no time', description),
            hint = 'Write 30m, 24h, 7d, 2w, today, yesterday, 2026-11-23 or 2026-11-23T09:30+01.';
end
$$;

comment on function audit.moment(text) is
    'A time as people write it: how long ago (`7d`), or anything that timestamptz takes (`yesterday`, `2026-11-23`). PT015, PT085.';

create or replace function audit.transactions_open_in(snapshot pg_snapshot)
returns xid8[]
language sql
immutable
parallel safe
as $$
    -- From its text: of a snapshot that is known the planner knows them too. Of a subquery it expects ten, and where a month
    -- was recorded by a few transactions (an import, a bulk change) would rather read all of it than ask the index.
    select pg_catalog.string_to_array(pg_catalog.split_part(snapshot::pg_catalog.text, ':', 3), ',')::pg_catalog.xid8[]
$$;

comment on function audit.transactions_open_in(pg_snapshot) is
    'The transactions that were open when a snapshot was taken: pg_snapshot_xip() as an array.';

create or replace function audit.batch(from_snapshot pg_snapshot, to_snapshot pg_snapshot)
returns setof audit.event
language sql
stable
as $$
    select event.*
    from audit.event
    where (
            event.xid operator(pg_catalog.=) any (audit.transactions_open_in(from_snapshot))
            or event.xid operator(pg_catalog.>=) pg_catalog.pg_snapshot_xmax(from_snapshot)
        )
        and pg_catalog.pg_visible_in_snapshot(event.xid, to_snapshot)
        -- Follows from that, and is what an index can use.
        and event.xid operator(pg_catalog.<) pg_catalog.pg_snapshot_xmax(to_snapshot)
$$;

comment on function audit.batch(pg_snapshot, pg_snapshot) is
    'The events that are visible in to_snapshot and were not in from_snapshot: exact however long transactions stay open (the batches of PgQ). Whoever follows the log calls it with the last pg_current_snapshot() and the present one.';
