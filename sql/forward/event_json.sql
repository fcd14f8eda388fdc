-- An event as JSON, and the functions that several formats share.

create or replace function audit_internal.event_uid(event audit.event)
returns text
language sql
stable
as $$
    -- (No node's name is a number.)
    select case
        when event.node is null then 'evt_' || event.id
        else 'evt_' || event.node || '_' || event.node_id
    end
$$;

comment on function audit_internal.event_uid(audit.event) is
    'Returns the public id of an event, the idempotency key of its delivery: evt_42; on a hub, of node eu1''s event 42, evt_eu1_42.';

create or replace function audit_internal.base_event_object(event audit.event)
returns json
language sql
stable
as $$
    select pg_catalog.json_build_object(
        'id', audit_internal.event_uid(event),
        'occurred_at', audit_internal.rfc3339(event.occurred_at),
        'org_id', event.org_id,
        'org_label', audit_internal.label_of_org(event.org_id),
        'category', event.category,
        'action', event.action,
        'operation', event.operation,
        'actor', pg_catalog.json_build_object(
            'type', event.actor_type,
            'id', event.actor_id,
            'label', event.actor_label,
            'ip', pg_catalog.host(event.actor_ip),
            'user_agent', event.user_agent
        ),
        'request_id', event.request_id,
        'reason', event.reason,
        'resource', pg_catalog.json_build_object(
            'type', event.resource_type,
            'id', event.resource_id,
            'label', event.resource_label,
            'table', event.table_name
        ),
        'connection', pg_catalog.json_build_object(
            'role', event.db_role,
            'address', pg_catalog.host(event.client_addr),
            'application_name', event.application_name
        ),
        'before', audit.row_before(event),
        'after', event.after,
        'changed', event.changed
    )
$$;

comment on function audit_internal.base_event_object(audit.event) is 'audit_internal.event_object() of an event that pgtrail recorded itself.';

create or replace function audit_internal.merge_objects(one json, other json)
returns text
language sql
immutable
as $$
    -- json has no ||, and that of jsonb would copy before and after again.
    select pg_catalog.left(one::text, -1) || ', ' || pg_catalog.substr(other::text, 2)
$$;

comment on function audit_internal.merge_objects(json, json) is
    'Merges two JSON objects. Neither may be empty, and no name may be in both.';

create or replace function audit_internal.event_object(event audit.event)
returns json
language sql
stable
as $$
    select case
        when event.imported_from is null and event.node is null then audit_internal.base_event_object(event)
        else audit_internal.merge_objects(
            audit_internal.base_event_object(event),
            pg_catalog.json_strip_nulls(
                pg_catalog.json_build_object('imported_from', event.imported_from, 'node', event.node)
            )
        )::json
    end
$$;

comment on function audit_internal.event_object(audit.event) is
    'An event as other programs receive it. `changed` is null for inserts and deletes; `imported_from` is present only where another tool recorded it, `node` only on a hub, for another database''s events. As json, which is faster to serialize than jsonb (8 µs for 12).';

create or replace function audit.event_json(event audit.event)
returns jsonb
language sql
stable
as $$
    select audit_internal.event_object(event)::jsonb
$$;

comment on function audit.event_json(audit.event) is 'audit_internal.event_object() as jsonb.';

create or replace function audit_internal.email_address(label text)
returns text
language sql
immutable
parallel safe
as $$
    select case
        when label ~ '^[A-Za-z0-9!#$%&''*+/=?^_`{|}~.-]+@[A-Za-z0-9-]+[.][A-Za-z0-9.-]+$' then label
    end
$$;

comment on function audit_internal.email_address(text) is
    'Returns the label if it is an e-mail address as OCSF (email_t) defines it: no quotes, only ASCII, a dot in the domain; else null.';

create or replace function audit_internal.epoch_milliseconds(moment timestamptz)
returns bigint
language sql
immutable
as $$
    select pg_catalog.floor(extract(epoch from moment) * 1000)::bigint
$$;

comment on function audit_internal.epoch_milliseconds(timestamptz) is 'Milliseconds since 1970, rounded down.';

create or replace function audit_internal.event_summary(event audit.event)
returns text
language sql
stable
as $$
    select coalesce(event.actor_label, event.actor_id, event.actor_type) || ' ' || event.action || ' '
        || coalesce(event.resource_label, event.resource_id, event.resource_type)
$$;

comment on function audit_internal.event_summary(audit.event) is 'An event in one line: actor, action, resource.';

create or replace function audit_internal.percent_encode(part text)
returns text
language sql
immutable
as $$
    select pg_catalog.string_agg(
        case
            when letter.text ~ '[A-Za-z0-9._~-]' then letter.text
            else pg_catalog.regexp_replace(
                pg_catalog.upper(pg_catalog.encode(pg_catalog.convert_to(letter.text, 'UTF8'), 'hex') collate "C"), '(..)', E'%\\1', 'g'
            )
        end,
        ''
        order by letter.number
    )
    from pg_catalog.regexp_split_to_table(part, '') with ordinality as letter (text, number)
$$;

comment on function audit_internal.percent_encode(text) is 'Escapes a text for audit_internal.uri_escape().';

create or replace function audit_internal.uri_escape(part text)
returns text
language sql
immutable
as $$
    -- The query is in a separate function, so that the planner can inline this one.
    select case when part ~ '[^A-Za-z0-9._~-]' then audit_internal.percent_encode(part) else part end
$$;

comment on function audit_internal.uri_escape(text) is 'Escapes a text as one segment of a URI: each character that is not unreserved (RFC 3986, 2.3) as %XX of its UTF-8.';

create or replace function audit_internal.smallest_fields(image jsonb, max_bytes integer)
returns jsonb
language sql
immutable
as $$
    select pg_catalog.jsonb_build_object(
        '[truncated]',
        pg_catalog.jsonb_build_object(
            'bytes', pg_catalog.octet_length(pg_catalog.convert_to(image::text, 'UTF8')),
            'sha256', pg_catalog.encode(pg_catalog.sha256(pg_catalog.convert_to(image::text, 'UTF8')), 'hex')
        )
    ) || coalesce(
        (
            -- The smallest fields first: that keeps as many as possible.
            select pg_catalog.jsonb_object_agg(field.key, field.value)
            from (
                select
                    entry.key,
                    entry.value,
                    sum(pg_catalog.octet_length(entry.key) + pg_catalog.octet_length(entry.value::text) + 6)
                        over (order by pg_catalog.octet_length(entry.value::text), entry.key) as bytes
                from pg_catalog.jsonb_each(image) as entry
            ) as field
            where field.bytes <= max_bytes
        ),
        '{}'
    )
$$;

comment on function audit_internal.smallest_fields(jsonb, integer) is 'Shortens a row that is too large for audit_internal.shorten_row().';

create or replace function audit_internal.shorten_row(image jsonb, max_bytes integer)
returns jsonb
language sql
immutable
as $$
    -- The query is in a separate function, so that the planner can inline this one.
    select case
        when pg_catalog.octet_length(image::text) > max_bytes then audit_internal.smallest_fields(image, max_bytes)
        else image
    end
$$;

comment on function audit_internal.shorten_row(jsonb, integer) is
    'before or after of an event, at most so many bytes and some 150 more: whole, or its smallest fields and, as "[truncated]", the bytes of the whole and the SHA-256 (hex) of its text in UTF-8.';
