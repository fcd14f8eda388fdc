-- One event rendered for webhooks, CloudEvents, Splunk, Datadog and Sentinel. Framing, limits and headers are in formats.sql.

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
                    -- A user of the application; `user` would be one of the infrastructure.
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
        -- Indexed fields are flat: Splunk refuses a request with a null or nested one.
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
                -- Datadog drops what is older than 18 hours, and still responds 202.
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
    'A log of Datadog''s v2 intake. An event older than 18 hours gets a timestamp that Datadog accepts, audit.timestamp_clamped says so, and audit.occurred_at is the time it occurred. https://docs.datadoghq.com/api/latest/logs/';

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
        -- Azure truncates a value over 64 KB, in the middle of the JSON.
        'Before', audit_internal.shorten_row(audit.row_before(event), 60000),
        'After', audit_internal.shorten_row(event.after, 60000),
        'Changed', event.changed
    )::text
$$;

comment on function audit_internal.render_sentinel(audit.event) is
    'A record of Azure''s Logs Ingestion API: flat columns; before and after at most 64 KB each.';
