-- How one event looks to each kind of receiver. Framing, limits and headers are in sql/forward/formats.sql.

create or replace function audit_internal.event_uid(event audit.event)
returns text
language sql
stable
as $$
    -- (No node is called by a number.)
    select case
        when event.node is null then 'evt_' || event.id
        else 'evt_' || event.node || '_' || event.node_id
    end
$$;

comment on function audit_internal.event_uid(audit.event) is
    'What an event is called outside, the idempotency key of its delivery: evt_42; on a hub, of node eu1''s event 42, evt_eu1_42.';

create or replace function audit_internal.recorded_object(event audit.event)
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

comment on function audit_internal.recorded_object(audit.event) is 'audit_internal.event_object() of an event that pgtrail recorded itself.';

create or replace function audit_internal.merge_objects(one json, other json)
returns text
language sql
immutable
as $$
    -- There is no || for json, and that of jsonb copies before and after once more.
    select pg_catalog.left(one::text, -1) || ', ' || pg_catalog.substr(other::text, 2)
$$;

comment on function audit_internal.merge_objects(json, json) is
    'Two JSON objects as one. Neither may be empty, and no name may be in both.';

create or replace function audit_internal.event_object(event audit.event)
returns json
language sql
stable
as $$
    select case
        when event.imported_from is null and event.node is null then audit_internal.recorded_object(event)
        else audit_internal.merge_objects(
            audit_internal.recorded_object(event),
            pg_catalog.json_strip_nulls(
                pg_catalog.json_build_object('imported_from', event.imported_from, 'node', event.node)
            )
        )::json
    end
$$;

comment on function audit_internal.event_object(audit.event) is
    'An event as other programs get it. `changed` is null where a row came or went; `imported_from` is there only where another tool recorded it, `node` only on a hub, of what another database did. As json, which is written faster than jsonb (8 µs for 12).';

create or replace function audit.event_json(event audit.event)
returns jsonb
language sql
stable
as $$
    select audit_internal.event_object(event)::jsonb
$$;

comment on function audit.event_json(audit.event) is 'The same as audit_internal.event_object(), to be searched and taken apart.';

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
    'The label where it is an e-mail address as OCSF (email_t) takes it: no quotes, nothing but ASCII, a dot in the domain.';

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

comment on function audit_internal.percent_encode(text) is 'What audit_internal.uri_escape() does with a text that needs it.';

create or replace function audit_internal.uri_escape(part text)
returns text
language sql
immutable
as $$
    -- The query is in a function of its own, so that the planner sees through this one.
    select case when part ~ '[^A-Za-z0-9._~-]' then audit_internal.percent_encode(part) else part end
$$;

comment on function audit_internal.uri_escape(text) is 'A text as one segment of a URI: what is not unreserved (RFC 3986, 2.3) as %XX of its UTF-8.';

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
            -- The small fields first: they are most, and say most.
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

comment on function audit_internal.smallest_fields(jsonb, integer) is 'What audit_internal.shorten_row() does with a row that is too large.';

create or replace function audit_internal.shorten_row(image jsonb, max_bytes integer)
returns jsonb
language sql
immutable
as $$
    -- The query is in a function of its own, so that the planner sees through this one.
    select case
        when pg_catalog.octet_length(image::text) > max_bytes then audit_internal.smallest_fields(image, max_bytes)
        else image
    end
$$;

comment on function audit_internal.shorten_row(jsonb, integer) is
    'before or after of an event, at most so many bytes and some 150 more: whole, or its smallest fields and, as "[truncated]", the bytes of the whole and the SHA-256 (hex) of its text in UTF-8.';

create or replace function audit_internal.render_webhook(event audit.event)
returns text
language sql
stable
as $$
    select pg_catalog.json_build_object(
        'type', event.action,
        'timestamp', audit_internal.rfc3339(event.occurred_at),
        'data', audit_internal.event_object(event)
    )::text
$$;

comment on function audit_internal.render_webhook(audit.event) is
    'The body of a Standard Webhooks 1.0.0 request: type, timestamp, data. https://www.standardwebhooks.com';

create or replace function audit_internal.render_ndjson(event audit.event)
returns text
language sql
stable
as $$
    select audit_internal.event_object(event)::text
$$;

comment on function audit_internal.render_ndjson(audit.event) is 'An event on one line: JSON text holds no line break.';

create or replace function audit_internal.render_cloudevents(event audit.event)
returns text
language sql
stable
as $$
    select audit_internal.merge_objects(
        -- No attribute may be null; within data nulls mean something.
        pg_catalog.json_strip_nulls(
            pg_catalog.json_build_object(
                'specversion', '1.0',
                'id', audit_internal.event_uid(event),
                'source', coalesce('/orgs/' || audit_internal.uri_escape(nullif(event.org_id, '')), '') || '/audit',
                'type', 'dev.pgtrail.' || event.action,
                'subject', event.resource_type || coalesce('/' || audit_internal.uri_escape(event.resource_id), ''),
                'time', audit_internal.rfc3339(event.occurred_at),
                'datacontenttype', 'application/json',
                'sequence', pg_catalog.lpad(event.id::text, 20, '0'),
                'authtype', case event.actor_type
                    -- Of an application; `user` would be one of the infrastructure.
                    when 'user' then 'app_user'
                    when 'service' then 'service_account'
                    when 'api_key' then 'api_key'
                    when 'database' then 'system'
                    else 'unknown'
                end,
                -- An e-mail address is personal data, and this attribute is meant for routers to read. No String of
                -- CloudEvents has a control character.
                'authid', case when event.actor_id !~ '^$|[@[:cntrl:]]' then event.actor_id end
            )
        ),
        pg_catalog.json_build_object('data', audit_internal.event_object(event))
    )
$$;

comment on function audit_internal.render_cloudevents(audit.event) is
    'CloudEvents 1.0.2 in JSON, with the extensions sequence (the id, 20 digits) and authcontext (authid: the actor''s id where it is no e-mail address). https://github.com/cloudevents/spec';

create or replace function audit_internal.render_cloudevents_batch(event audit.event)
returns text
language sql
stable
as $$
    select audit_internal.render_cloudevents(event)
$$;

comment on function audit_internal.render_cloudevents_batch(audit.event) is 'One element of a CloudEvents JSON batch.';

create or replace function audit_internal.render_splunk_hec(event audit.event)
returns text
language sql
stable
as $$
    select pg_catalog.json_build_object(
        'time', audit_internal.epoch_milliseconds(event.occurred_at) / 1000.0,
        'source', 'pgtrail',
        'sourcetype', 'pgtrail:audit',
        'event', audit_internal.event_object(event),
        -- Indexed, and flat: a null or a nested value spoils the request.
        'fields', pg_catalog.json_strip_nulls(
            pg_catalog.json_build_object(
                'event_id', audit_internal.event_uid(event),
                'action', event.action,
                'category', event.category,
                'org_id', event.org_id,
                'resource_id', event.resource_id
            )
        )
    )::text
$$;

comment on function audit_internal.render_splunk_hec(audit.event) is
    'An event of Splunk''s HTTP Event Collector: time in seconds with milliseconds, indexed fields flat.';

create or replace function audit_internal.render_datadog(event audit.event)
returns text
language sql
stable
as $$
    select audit_internal.merge_objects(
        pg_catalog.json_strip_nulls(
            pg_catalog.json_build_object(
                'ddsource', 'pgtrail',
                'service', 'audit',
                'ddtags', pg_catalog.concat_ws(
                    ',', 'category:' || event.category, 'org:' || pg_catalog.replace(event.org_id, ',', '_')
                ),
                -- What is older than 18 hours would be dropped, with a 202.
                'timestamp', audit_internal.epoch_milliseconds(
                    greatest(event.occurred_at, pg_catalog.now() - interval '17 hours 59 minutes')
                ),
                'message', audit_internal.event_summary(event),
                'evt', pg_catalog.json_build_object('id', audit_internal.event_uid(event), 'name', event.action),
                'usr', pg_catalog.json_build_object(
                    'id', event.actor_id,
                    'name', event.actor_label,
                    'email', audit_internal.email_address(event.actor_label)
                ),
                'network', pg_catalog.json_build_object(
                    'client', pg_catalog.json_build_object(
                        'ip', pg_catalog.host(coalesce(event.actor_ip, event.client_addr))
                    )
                ),
                'http', pg_catalog.json_build_object('useragent', event.user_agent)
            )
        ),
        pg_catalog.json_build_object(
            'audit', audit_internal.merge_objects(
                audit_internal.event_object(event),
                pg_catalog.json_build_object(
                    'timestamp_clamped', event.occurred_at < pg_catalog.now() - interval '17 hours 59 minutes'
                )
            )::json
        )
    )
$$;

comment on function audit_internal.render_datadog(audit.event) is
    'A log of Datadog''s v2 intake. An event older than 18 hours gets a timestamp that Datadog takes, audit.timestamp_clamped says so, and audit.occurred_at is the time it occurred. https://docs.datadoghq.com/api/latest/logs/';

create or replace function audit_internal.render_sentinel(event audit.event)
returns text
language sql
stable
as $$
    -- Columns of a table: flat, and none named id, Type, TenantId or Title, which are Azure's own.
    select pg_catalog.json_build_object(
        'TimeGenerated', audit_internal.rfc3339(event.occurred_at),
        'EventId', audit_internal.event_uid(event),
        'OrgId', event.org_id,
        'OrgLabel', audit_internal.label_of_org(event.org_id),
        'Category', event.category,
        'Action', event.action,
        'Operation', event.operation,
        'ActorType', event.actor_type,
        'ActorId', event.actor_id,
        'ActorLabel', event.actor_label,
        'ActorIp', pg_catalog.host(event.actor_ip),
        'UserAgent', event.user_agent,
        'RequestId', event.request_id,
        'Reason', event.reason,
        'ResourceType', event.resource_type,
        'ResourceId', event.resource_id,
        'ResourceLabel', event.resource_label,
        'TableName', event.table_name,
        'DatabaseRole', event.db_role,
        'ClientAddress', pg_catalog.host(event.client_addr),
        'ApplicationName', event.application_name,
        -- What is over 64 KB is cut by Azure, in the middle of the JSON.
        'Before', audit_internal.shorten_row(audit.row_before(event), 60000),
        'After', audit_internal.shorten_row(event.after, 60000),
        'Changed', event.changed
    )::text
$$;

comment on function audit_internal.render_sentinel(audit.event) is
    'A record of Azure''s Logs Ingestion API: flat columns; before and after at most 64 KB each.';

create or replace function audit_internal.operation_kind(operation text)
returns text
language sql
immutable
as $$
    select case operation
        when 'INSERT' then 'creation'
        when 'UPDATE' then 'change'
        when 'DELETE' then 'deletion'
        when 'TRUNCATE' then 'deletion'
        else 'info'
    end
$$;

comment on function audit_internal.operation_kind(text) is 'An operation as ECS names it in event.type.';

create or replace function audit_internal.render_elastic(event audit.event)
returns text
language sql
stable
as $$
    select pg_catalog.json_build_object('create', pg_catalog.json_build_object('_id', audit_internal.event_uid(event)))::text
        || E'\n'
        || audit_internal.merge_objects(
            pg_catalog.json_strip_nulls(
                pg_catalog.json_build_object(
                    '@timestamp', audit_internal.rfc3339(event.occurred_at),
                    'ecs', pg_catalog.json_build_object('version', '9.4.0'),
                    'message', audit_internal.event_summary(event),
                    'event', pg_catalog.json_build_object(
                        'id', audit_internal.event_uid(event),
                        'kind', 'event',
                        'module', 'pgtrail',
                        'dataset', 'pgtrail.audit',
                        'action', event.action,
                        'outcome', 'success',
                        'sequence', event.id,
                        'reason', event.reason,
                        'category', case
                            when event.category in ('api_keys', 'members', 'teams', 'profile', 'password') then '["iam"]'
                            else '["configuration"]'
                        end::json,
                        'type', case
                            when event.category in ('members', 'profile', 'password')
                                then pg_catalog.json_build_array('user', audit_internal.operation_kind(event.operation))
                            when event.category = 'teams'
                                then pg_catalog.json_build_array('group', audit_internal.operation_kind(event.operation))
                            else pg_catalog.json_build_array(audit_internal.operation_kind(event.operation))
                        end
                    ),
                    'user', pg_catalog.json_build_object(
                        'id', event.actor_id,
                        'name', event.actor_label,
                        'email', audit_internal.email_address(event.actor_label),
                        'target', case
                            when event.resource_type in ('member', 'profile') then pg_catalog.json_build_object(
                                'id', event.resource_id,
                                'email', audit_internal.email_address(event.resource_label)
                            )
                        end
                    ),
                    'source', case
                        when coalesce(event.actor_ip, event.client_addr) is not null
                            then pg_catalog.json_build_object(
                                'ip', pg_catalog.host(coalesce(event.actor_ip, event.client_addr))
                            )
                    end,
                    'user_agent', case
                        when event.user_agent is not null
                            then pg_catalog.json_build_object('original', event.user_agent)
                    end,
                    'http', case
                        when event.request_id is not null
                            then pg_catalog.json_build_object(
                                'request', pg_catalog.json_build_object('id', event.request_id)
                            )
                    end,
                    'organization', case
                        when event.org_id is not null then pg_catalog.json_build_object('id', event.org_id, 'name', audit_internal.label_of_org(event.org_id))
                    end,
                    'related', pg_catalog.json_build_object(
                        'user', pg_catalog.array_remove(
                            array[
                                nullif(event.actor_id, ''),
                                nullif(event.actor_label, ''),
                                case when event.resource_type in ('member', 'profile') then nullif(event.resource_label, '') end
                            ],
                            null
                        ),
                        'ip', pg_catalog.array_remove(
                            array[pg_catalog.host(event.actor_ip), pg_catalog.host(event.client_addr)], null
                        )
                    )
                )
            ),
            pg_catalog.json_build_object(
                'pgtrail', pg_catalog.json_build_object(
                    'category', event.category,
                    'resource', pg_catalog.json_build_object(
                        'type', event.resource_type,
                        'id', event.resource_id,
                        'label', event.resource_label,
                        'table', event.table_name
                    ),
                    'actor_type', event.actor_type,
                    'connection', pg_catalog.json_build_object(
                        'role', event.db_role,
                        'address', pg_catalog.host(event.client_addr),
                        'application_name', event.application_name
                    ),
                    'before', audit.row_before(event),
                    'after', event.after,
                    'changed', event.changed
                )
            )
        )
$$;

comment on function audit_internal.render_elastic(audit.event) is
    'The two lines of a create in Elasticsearch''s _bulk API: its _id is the event''s, the document is in ECS 9.4. Map pgtrail.before and pgtrail.after as flattened.';

create or replace function audit_internal.ocsf_type(event audit.event)
returns integer
language sql
immutable
as $$
    select case
        when event.category = 'password' and event.operation = 'UPDATE' then 300103
        when event.action = 'member.role_changed' then case when event.after ->> 'role' is null then 300502 else 300501 end
        when event.resource_type = 'member' and event.operation in ('DELETE', 'TRUNCATE') then 300604
        when event.action = 'member.accepted'
            or event.resource_type = 'member' and event.operation = 'INSERT' and event.after ->> 'status' = 'active'
            then 300603
        when event.operation = 'INSERT' then 300401
        when event.operation in ('DELETE', 'TRUNCATE') or event.action = 'audit.destination_removed' then 300404
        when event.operation = 'UPDATE' and event.changed = '{enabled}'
            then case event.after ->> 'enabled' when 'true' then 300408 when 'false' then 300409 else 300403 end
        when event.operation = 'UPDATE' and event.changed = '{disabled}'
            then case event.after ->> 'disabled' when 'true' then 300409 when 'false' then 300408 else 300403 end
        when event.operation = 'UPDATE' then 300403
        else 300499
    end
$$;

comment on function audit_internal.ocsf_type(audit.event) is
    'The type of OCSF 1.8 that an event is, class × 100 + activity: password changed 3001 03; role given 3005 01, taken 02; member added or removed 3006 03, 04; all else Entity Management: created 3004 01, updated 03, deleted 04, enabled 08, disabled 09, other 99.';

create or replace function audit_internal.ocsf_user(event audit.event)
returns json
language sql
stable
as $$
    select pg_catalog.json_strip_nulls(
        pg_catalog.json_build_object(
            'uid', coalesce(event.resource_id, ''),
            'name', event.resource_label,
            'email_addr', audit_internal.email_address(event.resource_label)
        )
    )
$$;

comment on function audit_internal.ocsf_user(audit.event) is 'The person that an event happened to, as a user object of OCSF.';

create or replace function audit_internal.ocsf_managed_entity(event audit.event, image jsonb)
returns json
language sql
stable
as $$
    select case
        when image is null then pg_catalog.json_build_object(
            'uid', coalesce(event.resource_id, ''),
            'name', coalesce(event.resource_label, event.resource_id, ''),
            'type', coalesce(event.resource_type, ''),
            'type_id', 99
        )
        else pg_catalog.json_build_object(
            'uid', coalesce(event.resource_id, ''),
            'name', coalesce(event.resource_label, event.resource_id, ''),
            'type', coalesce(event.resource_type, ''),
            'type_id', 99,
            'data', image
        )
    end
$$;

comment on function audit_internal.ocsf_managed_entity(audit.event, jsonb) is
    'The resource of an event as a managed entity of OCSF, with its row before or after.';

create or replace function audit_internal.ocsf_object(event audit.event)
returns json
language sql
stable
as $$
    select case audit_internal.ocsf_type(event) / 100
        when 3001 then pg_catalog.json_build_object('user', audit_internal.ocsf_user(event))
        when 3005 then pg_catalog.json_build_object(
            'user', audit_internal.ocsf_user(event),
            'privileges', pg_catalog.json_build_array(coalesce(event.after ->> 'role', event.before ->> 'role', ''))
        )
        when 3006 then pg_catalog.json_build_object(
            'user', audit_internal.ocsf_user(event),
            'group', pg_catalog.json_strip_nulls(
                pg_catalog.json_build_object('uid', coalesce(event.org_id, ''), 'name', audit_internal.label_of_org(event.org_id), 'type', 'organization')
            )
        )
        else case
            when event.after is null then pg_catalog.json_build_object('entity', audit_internal.ocsf_managed_entity(event, audit.row_before(event)))
            else pg_catalog.json_build_object(
                'entity', audit_internal.ocsf_managed_entity(event, audit.row_before(event)),
                'entity_result', audit_internal.ocsf_managed_entity(event, event.after)
            )
        end
    end
$$;

comment on function audit_internal.ocsf_object(audit.event) is 'What an event happened to, as the class of audit_internal.ocsf_type() has it.';

create or replace function audit_internal.ocsf_unmapped(event audit.event)
returns json
language sql
stable
as $$
    select case audit_internal.ocsf_type(event) / 100
        when 3004 then pg_catalog.json_build_object(
            'category', event.category,
            'changed', event.changed,
            'reason', event.reason,
            'table', event.table_name,
            'database_role', event.db_role
        )
        -- The other classes have no place for the row.
        else pg_catalog.json_build_object(
            'category', event.category,
            'changed', event.changed,
            'reason', event.reason,
            'table', event.table_name,
            'database_role', event.db_role,
            'before', audit.row_before(event),
            'after', event.after
        )
    end
$$;

comment on function audit_internal.ocsf_unmapped(audit.event) is 'What OCSF has no place for.';

create or replace function audit_internal.render_ocsf(event audit.event)
returns text
language sql
stable
as $$
    select audit_internal.merge_objects(
        pg_catalog.json_strip_nulls(
            pg_catalog.json_build_object(
                'category_uid', 3,
                'class_uid', audit_internal.ocsf_type(event) / 100,
                'activity_id', audit_internal.ocsf_type(event) % 100,
                -- Of the other activities the number says it all: a name would have to be OCSF's own.
                'activity_name', case when audit_internal.ocsf_type(event) % 100 = 99 then event.action end,
                'type_uid', audit_internal.ocsf_type(event),
                'severity_id', 1,
                'status_id', 1,
                'time', audit_internal.epoch_milliseconds(event.occurred_at),
                'message', audit_internal.event_summary(event),
                'metadata', pg_catalog.json_build_object(
                    'version', '1.8.0',
                    'product', pg_catalog.json_build_object('name', 'pgtrail', 'vendor_name', 'pgtrail'),
                    'uid', audit_internal.event_uid(event),
                    'sequence', event.id,
                    'event_code', event.action,
                    'tenant_uid', event.org_id,
                    'original_time', audit_internal.rfc3339(event.occurred_at),
                    'log_name', 'audit.event'
                ),
                'actor', pg_catalog.json_build_object(
                    'user', pg_catalog.json_build_object(
                        'uid', coalesce(event.actor_id, ''),
                        'name', event.actor_label,
                        'email_addr', audit_internal.email_address(event.actor_label),
                        'type', event.actor_type
                    ),
                    'app_name', nullif(event.application_name, '')
                ),
                'src_endpoint', case
                    when coalesce(event.actor_ip, event.client_addr) is not null
                        then pg_catalog.json_build_object(
                            'ip', pg_catalog.host(coalesce(event.actor_ip, event.client_addr))
                        )
                end,
                'http_request', case
                    when coalesce(event.user_agent, event.request_id) is not null
                        then pg_catalog.json_build_object('user_agent', event.user_agent, 'uid', event.request_id)
                end
            )
        ),
        audit_internal.merge_objects(
            audit_internal.ocsf_object(event),
            pg_catalog.json_build_object('unmapped', audit_internal.ocsf_unmapped(event))
        )::json
    )
$$;

comment on function audit_internal.render_ocsf(audit.event) is
    'An event of OCSF 1.8.0, category Identity & Access Management; see audit_internal.ocsf_type(). https://schema.ocsf.io/1.8.0';
