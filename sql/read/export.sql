-- CSV that is safe to open in a spreadsheet.

create or replace function audit_internal.invisible_characters()
returns text
language sql
immutable
parallel safe
as $$
    -- Control characters, Unicode white space, and characters without a width.
    select E'\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c\x0d\x0e\x0f\x10\x11\x12\x13\x14\x15\x16\x17\x18\x19\x1a\x1b\x1c\x1d\x1e\x1f \x7f'
        operator(pg_catalog.||) E'\u0085\u00a0\u00ad\u034f\u061c\u115f\u1160\u1680\u17b4\u17b5\u180e\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008'
        operator(pg_catalog.||) E'\u2009\u200a\u200b\u200c\u200d\u200e\u200f\u2028\u2029\u202a\u202b\u202c\u202d\u202e\u202f\u205f\u2060\u2061\u2062\u2063'
        operator(pg_catalog.||) E'\u2064\u2066\u2067\u2068\u2069\u206a\u206b\u206c\u206d\u206e\u206f\u2800\u3000\u3164\ufeff\uffa0\ufff9\ufffa\ufffb'
$$;

comment on function audit_internal.invisible_characters() is 'Returns the characters that are invisible at the beginning of a cell: controls, white space, and those without a width.';

create or replace function audit_internal.spreadsheet_safe(cell text)
returns text
language sql
immutable
parallel safe
as $$
    -- By bytes, which costs a fifth of a regular expression; cells that begin with a letter, which most do, by the first comparison.
    select case
        when (cell collate pg_catalog."C" operator(pg_catalog.<) 'A' or cell collate pg_catalog."C" operator(pg_catalog.>=) E'\x7f')
            and (
                pg_catalog.left(cell, 1) collate pg_catalog."C" operator(pg_catalog.=) any (array[E'\t', E'\n', E'\r'])
                or pg_catalog.left(pg_catalog.ltrim(cell, audit_internal.invisible_characters()), 1) collate pg_catalog."C"
                    operator(pg_catalog.=) any (array['=', '+', '-', '@', '＝', '＋', '－', '＠', '﹦', '﹢', '﹣', '﹫'])
            )
            then '''' operator(pg_catalog.||) cell
        else cell
    end
$$;

comment on function audit_internal.spreadsheet_safe(text) is
    'Returns the cell, with an apostrophe before it if a spreadsheet would take it for a formula (OWASP, CSV injection): also after characters that it ignores (white space, a byte order mark), and for full-width signs.';

create or replace function audit_internal.spreadsheet_time(moment timestamptz)
returns text
language sql
stable
strict
as $$
    select pg_catalog.to_char(moment at time zone interval '0', 'YYYY-MM-DD"T"HH24:MI:SS.US')
$$;

comment on function audit_internal.spreadsheet_time(timestamptz) is
    'Formats a time as ISO 8601 in UTC, to the microsecond and without a zone, which LibreOffice reads as a date and time in every locale.';

create or replace view audit.export
with (security_invoker = true) as
select
    event.id,
    -- Formatted here, so that no client's DateStyle or time zone changes a byte. (Excel reads the day as a date, but not date and time.)
    audit_internal.spreadsheet_time(event.occurred_at) as timestamp_utc,
    pg_catalog.left(audit_internal.spreadsheet_time(event.occurred_at), 10) as date_utc,
    audit_internal.spreadsheet_safe(event.org_id) as org_id,
    -- (A join would sort all events before the first is written.)
    audit_internal.spreadsheet_safe(
        coalesce((select org_label.label from audit.org_label where org_label.org_id = event.org_id), event.org_id)
    ) as organization,
    audit_internal.spreadsheet_safe(event.category) as category,
    audit_internal.spreadsheet_safe(event.action) as action,
    audit_internal.spreadsheet_safe(event.actor_type) as actor_type,
    audit_internal.spreadsheet_safe(event.actor_id) as actor_id,
    audit_internal.spreadsheet_safe(coalesce(event.actor_label, event.actor_id)) as actor,
    pg_catalog.host(event.actor_ip) as actor_ip,
    audit_internal.spreadsheet_safe(event.user_agent) as user_agent,
    audit_internal.spreadsheet_safe(event.request_id) as request_id,
    audit_internal.spreadsheet_safe(event.reason) as reason,
    audit_internal.spreadsheet_safe(event.resource_type) as resource_type,
    audit_internal.spreadsheet_safe(event.resource_id) as resource_id,
    audit_internal.spreadsheet_safe(coalesce(event.resource_label, event.resource_id)) as resource,
    event.operation,
    audit_internal.spreadsheet_safe(event.table_name) as table_name,
    -- audit_internal.details(), inlined: a function's own query is started for each row.
    case
        when pg_catalog.cardinality(event.changed) = 1 then audit_internal.field_details(event.changed[1], event.before, event.after)
        else (select details from audit_internal.aggregate_details(event.before, event.after, event.changed) as details)
    end as details,
    audit_internal.spreadsheet_safe(event.db_role) as db_role,
    pg_catalog.host(event.client_addr) as client_addr,
    audit_internal.spreadsheet_safe(event.application_name) as application_name,
    audit_internal.spreadsheet_safe(event.imported_from) as imported_from,
    event.node,
    event.node_id
from audit.event
order by event.occurred_at, event.id;

comment on view audit.export is
    'Exactly the columns of the CSV, oldest first, safe to open in a spreadsheet: \copy (select * from audit.export) to ''audit.csv'' csv header';

create or replace function audit_internal.spreadsheet_value(value jsonb)
returns text
language sql
immutable
parallel safe
as $$
    -- (A cell holds at most 32,767 characters: a longer one would continue in the next row.)
    select case
        when pg_catalog.jsonb_typeof(value) operator(pg_catalog.=) 'null' then null
        when pg_catalog.jsonb_typeof(value) operator(pg_catalog.<>) 'string' then pg_catalog.left(value operator(pg_catalog.#>>) '{}', 32000)
        else audit_internal.spreadsheet_safe(pg_catalog.left(value operator(pg_catalog.#>>) '{}', 32000))
    end
        operator(pg_catalog.||) case when pg_catalog.length(value operator(pg_catalog.#>>) '{}') operator(pg_catalog.>) 32000 then '…' else '' end
$$;

comment on function audit_internal.spreadsheet_value(jsonb) is
    'Returns a value as a cell: text without quotes and safe to open, anything else as JSON; null is empty; text longer than 32,000 characters is truncated, with … at its end.';

create or replace view audit.export_fields
with (security_invoker = true) as
select
    event.id,
    audit_internal.spreadsheet_time(event.occurred_at) as timestamp_utc,
    pg_catalog.left(audit_internal.spreadsheet_time(event.occurred_at), 10) as date_utc,
    audit_internal.spreadsheet_safe(event.org_id) as org_id,
    -- (A join would sort all events before the first is written.)
    audit_internal.spreadsheet_safe(
        coalesce((select org_label.label from audit.org_label where org_label.org_id = event.org_id), event.org_id)
    ) as organization,
    audit_internal.spreadsheet_safe(coalesce(event.actor_label, event.actor_id)) as actor,
    audit_internal.spreadsheet_safe(event.action) as action,
    audit_internal.spreadsheet_safe(event.resource_type) as resource_type,
    audit_internal.spreadsheet_safe(event.resource_id) as resource_id,
    audit_internal.spreadsheet_safe(coalesce(event.resource_label, event.resource_id)) as resource,
    audit_internal.spreadsheet_safe(field.key) as field,
    audit_internal.spreadsheet_value(field.value -> 'before') as before,
    audit_internal.spreadsheet_value(field.value -> 'after') as after,
    event.node,
    event.node_id
from audit.event
left join lateral audit_internal.short_details(event.before, event.after, event.changed, 32001) as shown (details) on true
left join lateral pg_catalog.jsonb_each(shown.details) with ordinality as field (key, value, number) on true
order by event.occurred_at, event.id, field.number;

comment on view audit.export_fields is
    'A row for each field of audit_internal.short_details(), for a spreadsheet, oldest first: of a JSON object each member that changed. An event without fields has a row with none. \copy (select * from audit.export_fields) to ''fields.csv'' csv header';

create or replace function audit_internal.export_statement(wanted audit.filter, by_field boolean)
returns text
language sql
stable
set search_path = pg_catalog, pg_temp
set quote_all_identifiers = off
as $$
    -- The view's text, with the condition before its ORDER BY, so that the index of time gives the rows and nothing is sorted.
    select format(
        'copy (%s) to stdout with (format csv, header)',
        case
            when wanted is null then format('select * from %s', source.name)
            else format(
                E'%s\nwhere audit.matches_filter(event, %L::audit.filter)\norder by event.occurred_at, event.id',
                regexp_replace(pg_get_viewdef(source.name::regclass), E'\\s+ORDER BY (event[.])?occurred_at, (event[.])?id;$', ''),
                wanted
            )
        end
    )
    from (select case when by_field then 'audit.export_fields' else 'audit.export' end as name) as source
$$;

comment on function audit_internal.export_statement(audit.filter, boolean) is
    'Returns the COPY that writes the CSV of audit.export (by_field: of audit.export_fields), oldest first, of the events that pass. The caller runs it, with their own rights.';

create or replace function audit_internal.begin_export(
    p_filter jsonb,
    by_field boolean default false,
    out events bigint,
    out csv text,
    out passing audit.filter,
    out visible_from jsonb
)
language plpgsql
set search_path = pg_catalog, pg_temp
set quote_all_identifiers = off
set standard_conforming_strings = on
as $$
declare
    wanted constant audit.filter := audit.filter(p_filter);
begin
    passing := audit_internal.restrict_to_visible(wanted);
    -- (EXECUTE allows a parallel plan.)
    execute 'select count(*) from audit.event where audit.matches_filter(event, $1)' into events using passing;
    perform audit_internal.record_export(jsonb_strip_nulls(to_jsonb(wanted)), events);
    csv := audit_internal.export_statement(passing, by_field);
    visible_from := (select coalesce(jsonb_agg(visible), '[]') from audit_internal.visible_from(passing) as visible);
end
$$;

comment on function audit_internal.begin_export(jsonb, boolean) is
    'Records an export of the events that pass a filter, before the first byte is sent. Returns how many they are, the COPY that writes their CSV (audit_internal.export_statement()), the parsed filter, and visible_from as in audit.search().';
