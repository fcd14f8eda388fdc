-- The formats: how rendered events become a request, and how an event that is too large is shortened.

-- Statuses and codes: the receivers' documentation, named in docs/security/formats.md.
insert into audit.format as current (
    name, content_type, max_events, max_bytes, max_event_bytes, prefix, separator, suffix,
    headers, takes_token, signed,
    gzip, max_in_flight, reads, success_statuses, poison_statuses, poison_codes, success_codes, configuration_codes
)
values
    (
        'webhook', 'application/json', 1, 1048576, 1048576, '', '', '',
        '{"authorization": "Bearer {token}"}', false, true,
        false, 8, 'status', '{}', '{400,415,422}', '{}', '{}', '{}'
    ),
    (
        'cloudevents', 'application/cloudevents+json; charset=utf-8', 1, 65536, 65536, '', '', '',
        '{"authorization": "Bearer {token}"}', false, true,
        false, 8, 'status', '{200,201,202,204}', '{400,415,422}', '{}', '{}', '{}'
    ),
    (
        'cloudevents_batch', 'application/cloudevents-batch+json; charset=utf-8', 1000, 1048576, 65536, '[', ',', ']',
        '{"authorization": "Bearer {token}"}', false, true,
        false, 1, 'status', '{200,201,202,204}', '{400,415,422}', '{}', '{}', '{}'
    ),
    (
        'splunk_hec', 'application/json', 1000, 1000000, 1000000, '', E'\n', '',
        '{"authorization": "Splunk {token}", "x-splunk-request-channel": "{channel}"}', true, false,
        -- (24 and 25: accepted, and a queue or the acknowledgements are nearly full.)
        true, 1, 'code', '{200}', '{400}', '{5,6,12,13,15}', '{0,24,25}', '{1,2,3,4,7,10,11,14,16,21,22}'
    ),
    (
        'datadog', 'application/json', 1000, 5000000, 1000000, '[', ',', ']',
        '{"dd-api-key": "{token}"}', true, false,
        true, 1, 'status', '{202}', '{400}', '{}', '{}', '{}'
    ),
    (
        'elastic', 'application/x-ndjson', 2000, 5000000, 1000000, '', E'\n', E'\n',
        '{"authorization": "ApiKey {token}"}', false, false,
        true, 1, 'items', '{200}', '{400}', '{}', '{}', '{}'
    ),
    (
        'ocsf', 'application/x-ndjson', 1000, 1000000, 1000000, '', E'\n', E'\n',
        '{"authorization": "Bearer {token}"}', false, false,
        true, 1, 'status', '{200,201,202,204}', '{400,415,422}', '{}', '{}', '{}'
    ),
    (
        'sentinel', 'application/json', 1000, 1000000, 1000000, '[', ',', ']',
        '{"authorization": "Bearer {token}"}', true, false,
        true, 1, 'status', '{204}', '{400}', '{}', '{}', '{}'
    ),
    (
        'ndjson', 'application/x-ndjson', 1000, 1000000, 1000000, '', E'\n', E'\n',
        '{"authorization": "Bearer {token}"}', false, false,
        true, 1, 'status', '{200,201,202,204}', '{400,415,422}', '{}', '{}', '{}'
    )
on conflict (name) do update
set
    content_type = excluded.content_type,
    max_events = excluded.max_events,
    max_bytes = excluded.max_bytes,
    max_event_bytes = excluded.max_event_bytes,
    prefix = excluded.prefix,
    separator = excluded.separator,
    suffix = excluded.suffix,
    headers = excluded.headers,
    takes_token = excluded.takes_token,
    signed = excluded.signed,
    gzip = excluded.gzip,
    max_in_flight = excluded.max_in_flight,
    reads = excluded.reads,
    success_statuses = excluded.success_statuses,
    poison_statuses = excluded.poison_statuses,
    poison_codes = excluded.poison_codes,
    configuration_codes = excluded.configuration_codes,
    success_codes = excluded.success_codes
where current is distinct from excluded;

create or replace function audit.render(event audit.event, format_name text)
returns bytea
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
    rendered text;
begin
    execute format('select audit_internal.%I($1)', 'render_' || format_name) into rendered using event;
    return convert_to(rendered, 'UTF8');
end
$$;

comment on function audit.render(audit.event, text) is 'Renders an event in a format, in UTF-8, without shortening it.';

create or replace function audit_internal.shorten_event(event audit.event, max_bytes integer)
returns audit.event
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
declare
    -- The limit of each text that a user can make long. (Labels and ids come from columns of any length.)
    max_chars integer := greatest(least(max_bytes / 32, 1024), 64);
    -- (Of an update, unchanged fields of after are in the row before too.)
    share integer := case when event.operation = 'UPDATE' then max_bytes / 9 * 2 else max_bytes / 3 end;
begin
    event.before := audit_internal.shorten_row(event.before, share);
    event.after := audit_internal.shorten_row(event.after, share);
    event.changed := event.changed[1:max_chars / 16];
    event.org_id := left(event.org_id, max_chars);
    event.resource_id := left(event.resource_id, max_chars);
    event.resource_label := left(event.resource_label, max_chars);
    event.actor_id := left(event.actor_id, max_chars);
    event.actor_label := left(event.actor_label, max_chars);
    event.user_agent := left(event.user_agent, max_chars);
    event.request_id := left(event.request_id, max_chars);
    event.reason := left(event.reason, max_chars);
    return event;
end
$$;

comment on function audit_internal.shorten_event(audit.event, integer) is
    'Shortens before and after of an event so that it fits, if possible, into so many bytes; see audit_internal.shorten_row(). Its other texts, and changed, are truncated.';

create or replace function audit_internal.render_to_fit(event audit.event, format_name text, max_bytes integer)
returns bytea
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
    rendered bytea := audit.render(event, format_name);
    target_bytes integer := max_bytes;
begin
    while octet_length(rendered) > max_bytes and target_bytes > 64
    loop
        rendered := audit.render(audit_internal.shorten_event(event, target_bytes), format_name);
        target_bytes := target_bytes / 2;
    end loop;
    return rendered;
end
$$;

comment on function audit_internal.render_to_fit(audit.event, text, integer) is
    'Renders an event in a format, shortened until it fits into so many bytes or can''t be shortened further.';
