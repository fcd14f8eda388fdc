-- One event in the Open Cybersecurity Schema Framework.

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

comment on function audit_internal.ocsf_user(audit.event) is 'Returns the resource of an event as a user object of OCSF.';

create or replace function audit_internal.ocsf_managed_entity(event audit.event, image jsonb)
returns json
language sql
stable
as $$
    select (
        pg_catalog.left(
            pg_catalog.json_build_object(
                'uid', coalesce(event.resource_id, ''),
                'name', coalesce(event.resource_label, event.resource_id, ''),
                'type', coalesce(event.resource_type, ''),
                'type_id', 99
            )::text,
            -1
        ) || coalesce(', "data" : ' || image::text, '') || '}'
    )::json
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

comment on function audit_internal.ocsf_object(audit.event) is 'Returns the resource of an event, as the class of audit_internal.ocsf_type() has it.';

create or replace function audit_internal.ocsf_unmapped(event audit.event)
returns json
language sql
stable
as $$
    select (
        pg_catalog.left(
            pg_catalog.json_build_object(
                'category', event.category,
                'changed', event.changed,
                'reason', event.reason,
                'table', event.table_name,
                'database_role', event.db_role
            )::text,
            -1
        ) || case
            when audit_internal.ocsf_type(event) / 100 = 3004 then '}'
            -- The other classes have no field for the row.
            else ', ' || pg_catalog.substr(
                pg_catalog.json_build_object('before', audit.row_before(event), 'after', event.after)::text, 2
            )
        end
    )::json
$$;

comment on function audit_internal.ocsf_unmapped(audit.event) is 'Returns the fields that OCSF has no attribute for.';

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
                -- Any other activity's name would have to be OCSF's own, and the number is enough.
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
