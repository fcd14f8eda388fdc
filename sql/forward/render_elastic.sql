-- One event in the Elastic Common Schema.

create or replace function audit_internal.ecs_event_type(operation text)
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

comment on function audit_internal.ecs_event_type(text) is 'Returns an operation''s name in ECS event.type.';

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
                                then pg_catalog.json_build_array('user', audit_internal.ecs_event_type(event.operation))
                            when event.category = 'teams'
                                then pg_catalog.json_build_array('group', audit_internal.ecs_event_type(event.operation))
                            else pg_catalog.json_build_array(audit_internal.ecs_event_type(event.operation))
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
