-- The log itself: nothing of it changes, pgtrail's own events are recorded in it, and whoever listens is woken.

create or replace function audit_internal.refuse_change()
returns trigger
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    -- The one way: inside audit.erase_actor(), and no other field than those that tell of a person.
    if tg_op = 'UPDATE' and tg_table_name like 'event%' then
        if audit_internal.is_erasure(old, new) then
            return new;
        end if;
    end if;
    raise exception using
        errcode = 'PT008',
        message = pg_catalog.format('%s on %I.%I is refused: the audit log is append-only', tg_op, tg_table_schema, tg_table_name),
        hint = 'Retention drops whole partitions; nothing else removes events.';
end
$$;

comment on function audit_internal.refuse_change() is
    'Refuses whatever fires it, but for what audit.erase_actor() does to the personal fields of an event. PT008.';

create or replace function audit_internal.is_erasure(was audit.event, becomes audit.event)
returns boolean
language plpgsql
stable
as $$
begin
    if not exists (
        select
        from audit.erasure
        where erasure.xid = pg_catalog.pg_current_xact_id_if_assigned() and erasure.erased_at >= pg_catalog.now()
    )
    then
        return false;
    end if;
    becomes.actor_id := was.actor_id;
    becomes.actor_label := was.actor_label;
    becomes.actor_ip := was.actor_ip;
    becomes.user_agent := was.user_agent;
    becomes.resource_label := was.resource_label;
    becomes.before := was.before;
    becomes.after := was.after;
    return was *= becomes;
end
$$;

comment on function audit_internal.is_erasure(audit.event, audit.event) is
    'Whether this transaction is an erasure, and nothing but personal fields is to change.';

create or replace trigger refuse_change
    before update or delete on audit.event
    for each row execute function audit_internal.refuse_change();

create or replace trigger refuse_truncate
    before truncate on audit.event
    for each statement execute function audit_internal.refuse_change();

create or replace trigger refuse_truncate
    before truncate on audit.event_default
    for each statement execute function audit_internal.refuse_change();

create or replace function audit_internal.notify_lock_key()
returns bigint
language sql
immutable
parallel safe
as $$
    -- 'pgtrail' in ASCII.
    select 31638947224447340
$$;

comment on function audit_internal.notify_lock_key() is
    'The advisory lock of the wake-up: who finds it taken need not notify, since whoever has it will look, or have others look, once it is free.';

create or replace function audit_internal.should_notify()
returns boolean
language sql
as $$
    -- NOTIFY takes a lock of the whole cluster until after the commit's flush; so one transaction at a time
    -- notifies. Who finds the lock taken is in flight already, and the worker that wakes sees that it is.
    -- A transaction that has notified can't be prepared: where prepared transactions are enabled, polling serves.
    select case pg_catalog.current_setting('max_prepared_transactions')
            when '0' then true
            else coalesce(pg_catalog.current_setting('pgtrail.notify', true) = 'on', false)
        end
        and pg_catalog.pg_try_advisory_xact_lock(audit_internal.notify_lock_key())
$$;

comment on function audit_internal.should_notify() is
    'Whether this transaction is the one to notify. Where max_prepared_transactions is above 0 none does, since a transaction that has notified can''t be prepared, unless the setting pgtrail.notify is on.';

create or replace function audit_internal.notify_workers()
returns void
language plpgsql
as $$
begin
    if audit_internal.should_notify() then
        notify pgtrail;
    end if;
end
$$;

comment on function audit_internal.notify_workers() is
    'Wakes the listeners of channel pgtrail: empty payload, a hint and no more. Compiled functions do it by themselves, which costs a third of a call.';

create or replace function audit.record(
    action text, resource_type text, resource_id text, resource_label text, before jsonb, after jsonb,
    org_id text default null
)
returns bigint
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    actor audit.actor := case
        when audit_internal.actor_is_claimed() and audit_internal.may_name_other_actors() then audit.current_actor()
        else audit_internal.database_actor()
    end;
    event_id bigint;
begin
    insert into audit.event (
        org_id, category, action, resource_type, resource_id, resource_hash, resource_label, before, after,
        actor_type, actor_id, actor_label, actor_ip, user_agent, request_id, reason
    )
    values (
        org_id, 'audit', action, resource_type, resource_id, hashtextextended(resource_id, 0), resource_label, before, after,
        actor.type, actor.id, actor.label, actor.ip, actor.user_agent, actor.request_id, actor.reason
    )
    returning id into event_id;
    perform audit_internal.notify_workers();
    return event_id;
end
$$;

comment on function audit.record(text, text, text, text, jsonb, jsonb, text) is
    'Records an event of pgtrail''s own that is no change of a tracked table. Its actor is the database role, unless audit_internal.may_name_other_actors(). Its id.';

create or replace function audit_internal.record_capture_failure(p_table text, p_operation text, p_sqlstate text)
returns void
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    -- Without the error's text, which may quote what must not be in the log.
    perform audit.record(
        'audit.recording_failed', 'tracked_table', p_table, p_table, null,
        jsonb_build_object('operation', p_operation, 'sqlstate', p_sqlstate)
    );
exception
    when others then
        raise warning 'pgtrail: % on % was not recorded (%)', p_operation, p_table, p_sqlstate;
end
$$;

comment on function audit_internal.record_capture_failure(text, text, text) is
    'Records that a change went through and was not recorded in full; where even that fails, the server''s log has it.';

create or replace function audit_internal.record_export(p_filters jsonb, p_events bigint)
returns bigint
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    claimed audit.actor := audit.current_actor();
begin
    if jsonb_typeof(p_filters) is distinct from 'object' or length(p_filters::text) > 10000 then
        raise exception using
            errcode = 'PT009',
            message = 'the filters of an export are a JSON object of at most 10,000 characters',
            hint = 'Choose fewer: --category, --action, --org, --actor, --resource, --since, --until.';
    end if;
    return audit.record(
        'audit.exported', 'export', null, null, null,
        jsonb_build_object('filters', jsonb_strip_nulls(p_filters), 'events', p_events)
            || case
                when claimed.type <> 'database' and not audit_internal.may_name_other_actors() then
                    jsonb_build_object('claimed', jsonb_build_object('type', claimed.type, 'id', claimed.id))
                else '{}'
            end,
        -- Who is confined to one organization takes out that one's events, and its admins see it.
        case when current_setting('role') = 'audit_org_reader' then nullif(current_setting('pgtrail.org', true), '') end
    );
end
$$;

comment on function audit_internal.record_export(jsonb, bigint) is
    'Records that somebody takes events out, before they do: which (the filters), and how many; a reader who claims to be somebody else is recorded as the role that it is, with `claimed` beside it. The event''s id. PT009.';

create or replace function audit_internal.system_identifier()
returns bigint
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
    select system_identifier from pg_catalog.pg_control_system()
$$;

comment on function audit_internal.system_identifier() is 'The identity of this cluster; a restored dump lives in another.';
