-- Access: all grants and row-level security policies.
-- Readers see rows through policies; all other roles see none.

create or replace function audit.grant_org(role_name name, org_id text)
returns void
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    if not exists (select from pg_roles where rolname = grant_org.role_name) then
        raise exception using
            errcode = 'PT002',
            message = format('there is no role "%s"', role_name),
            hint = 'Create it first: create role … login in role audit_reader';
    end if;
    insert into audit.org_grant (role_name, org_id)
    values (grant_org.role_name, grant_org.org_id)
    on conflict do nothing;
end
$$;

comment on function audit.grant_org(name, text) is
    'Lets a role (and its members) that is in audit_reader read an organization''s events. PT002.';

create or replace function audit.revoke_org(role_name name, org_id text)
returns void
language sql
security definer
set search_path = pg_catalog, pg_temp
as $$
    delete from audit.org_grant
    where org_grant.role_name = revoke_org.role_name and org_grant.org_id = revoke_org.org_id
$$;

comment on function audit.revoke_org(name, text) is 'Reverts audit.grant_org().';

alter table audit.org_grant enable row level security;
alter table audit.event enable row level security;
alter table audit.org_label enable row level security;
alter table audit.search_index enable row level security;

drop policy if exists own_grants on audit.org_grant;
create policy own_grants on audit.org_grant
    for select to audit_reader
    using (
        exists (
            select
            from pg_catalog.pg_roles
            where pg_roles.rolname = org_grant.role_name
                and pg_catalog.pg_has_role(current_user, pg_roles.oid, 'member')
        )
    );

drop policy if exists all_grants on audit.org_grant;
create policy all_grants on audit.org_grant
    for select to audit_admin, audit_auditor
    using (true);

-- An organization's name and its rows of audit.search_index are visible to the roles that may see its events.
do $$
declare
    policy record;
begin
    for policy in
        select *
        from unnest(array['event', 'org_label', 'search_index']) as relation_name
        cross join (values
            ('granted_orgs', 'audit_reader', 'org_id in (select org_grant.org_id from audit.org_grant)'),
            -- (A subquery is evaluated once for the statement.)
            ('named_org', 'audit_org_reader', 'org_id = (select nullif(pg_catalog.current_setting(''pgtrail.org'', true), ''''))'),
            ('every_org', 'audit_auditor, audit_admin, audit_forwarder', 'true')
        ) as given (name, readers, condition)
    loop
        execute format('drop policy if exists %I on audit.%I', policy.name, policy.relation_name);
        execute format(
            'create policy %I on audit.%I for select to %s using (%s)', policy.name, policy.relation_name, policy.readers, policy.condition
        );
    end loop;
end
$$;

-- By default functions are executable by everyone.
revoke execute on all functions in schema audit, audit_internal from public;
-- (In all schemas: a revoke in one schema does not override the global default.)
alter default privileges for role audit_owner revoke execute on functions from public;

-- Even the owner can't change what is recorded.
revoke update, delete, truncate on audit.event, audit.seal, audit.seal_leaves, audit.node_seal, audit.node_seal_leaves
    from audit_owner;
-- Only these fields, and only in an erasure, as audit_internal.refuse_change() enforces.
grant update (actor_id, actor_label, actor_ip, user_agent, resource_label, before, after) on audit.event to audit_owner;

-- Everyone: an application sets its actor without any other grant. A function that runs as its caller confers no right,
-- so all of those in audit_internal are granted; each security definer is granted below.
grant usage on schema audit, audit_internal to public;
grant execute on function audit.set_actor to public;
do $$
declare
    invoker regprocedure;
begin
    for invoker in
        select oid
        from pg_proc
        where pronamespace = 'audit_internal'::regnamespace
            and not prosecdef
            and prorettype not in ('trigger'::regtype, 'event_trigger'::regtype)
            and prokind = 'f'
    loop
        execute format('grant execute on function %s to public', invoker);
    end loop;
end
$$;

-- Readers.
grant select on
    audit.event, audit.search_index, audit.search_index_head, audit.org_label, audit.org_grant, audit.category, audit.log, audit.diff, audit.export, audit.export_fields,
    audit.api_keys, audit.members, audit.teams, audit.organization, audit.budgets, audit.guardrails, audit.plan,
    audit.settings, audit.data_policy, audit.profile, audit.password,
    audit.today, audit.last_7_days, audit.last_30_days
    to audit_reader, audit_org_reader, audit_auditor, audit_admin, audit_forwarder;
grant execute on function
    audit.row_before,
    audit.filter,
    audit.event_json,
    audit.render,
    audit.prove,
    audit_internal.proof,
    audit_internal.record_export,
    audit.matches_filter,
    audit_internal.has_nodes,
    audit_internal.dropped_until,
    audit.search,
    audit_internal.event_seal,
    audit_internal.check_event
    to audit_reader, audit_org_reader, audit_auditor, audit_admin, audit_forwarder;

-- Roles that may see every organization may see the configuration too, but no secret.
grant select on
    audit.installation, audit.tracked_table, audit.path_step, audit.rule, audit.format, audit.destination, audit.cursor, audit.attempt,
    audit.destination_status, audit.dead_letter, audit.replay, audit.worker
    to audit_auditor, audit_admin, audit_forwarder;
grant execute on function
    audit.doctor,
    audit_internal.count_unsealed,
    audit.retention_plan,
    audit_internal.node_state
    to audit_auditor, audit_admin, audit_forwarder;
grant select on
    audit.seal, audit.node, audit.node_seal, audit.erasure, audit.retention, audit.legal_hold, audit.dropped_partition, audit.policy
    to audit_auditor, audit_admin, audit_forwarder;
-- Roles that verify: the data that seals are computed from. (They may read the events that it
-- blinds; that of erased persons is destroyed.)
revoke select on audit.seal_leaves, audit.node_seal_leaves from audit_forwarder;
grant select on
    audit.seal_head, audit.seal_leaves, audit.salt, audit.erased_part, audit.node_seal_leaves, audit.node_salt, audit.node_erased_part,
    audit.node_copy, audit.node_dropped, audit.event_id_seq
    to audit_auditor, audit_admin;
grant execute on function
    audit.seal,
    audit_internal.seal_if_due,
    audit_internal.index_events
    to audit_admin, audit_forwarder;
grant execute on function audit.erase_actor to audit_admin;
revoke execute on procedure audit.record_baseline(regclass, bigint) from public;
grant execute on procedure audit.record_baseline(regclass, bigint) to audit_admin;

-- Roles that configure.
grant insert, update, delete on audit.tracked_table, audit.rule, audit.category to audit_admin;
grant execute on function
    audit.track,
    audit.untrack,
    audit.rule,
    audit.drop_rule,
    audit.recompile,
    audit_internal.compile_table,
    audit_internal.watch_table,
    audit_internal.drop_unused_functions,
    audit_internal.drop_functions_of_other_owners,
    audit_internal.assign_recorder,
    audit_internal.path_as_text,
    audit_internal.store_paths,
    audit_internal.name_known_orgs,
    audit_internal.record_baseline_batch,
    audit_internal.record_baseline_end,
    audit_internal.watch_triggers,
    audit_internal.parse_condition,
    audit.make_partitions,
    audit.maintain,
    audit.grant_org,
    audit.revoke_org,
    audit.add_destination,
    audit.rotate_secret,
    audit.set_token,
    audit.pause_destination,
    audit.replay_events,
    audit.redrive_dead_letters,
    audit.rebase_destination,
    audit.remove_destination,
    audit.set_on_failure,
    audit.set_retention,
    audit.clear_retention,
    audit.place_hold,
    audit.release_hold,
    audit.drop_partition,
    audit_internal.archived_salts,
    audit_internal.archived_parts
    to audit_admin;

grant select on audit.import, audit.import_problem to audit_auditor, audit_admin, audit_forwarder;

-- Roles that record.
select audit_internal.grant_to_recorder(role_name) from audit.recorder;

-- The worker.
grant select on audit.destination_secret to audit_forwarder;
grant execute on function
    audit_internal.next_batch,
    audit_internal.render_shortened,
    audit_internal.renew_lease,
    audit_internal.record_delivery,
    audit_internal.release_lease,
    audit_internal.report_broken,
    audit_internal.record_heartbeat,
    audit_internal.remove_worker,
    audit.maintain
    to audit_forwarder;

-- A hub's role at a node: the published tables, and the version.
drop policy if exists published on audit.event;
create policy published on audit.event
    for select to audit_hub
    using (true);
grant select on
    audit.event, audit.seal, audit.seal_leaves, audit.salt, audit.erased_part, audit.dropped_partition, audit.installation
    to audit_hub;

-- Roles that operate a hub, and may create subscriptions.
grant execute on function
    audit.init_hub,
    audit_internal.check_new_node,
    audit_internal.last_received_seal,
    audit.add_node,
    audit_internal.make_node_partitions,
    audit.remove_node,
    audit_internal.register_node,
    audit_internal.unregister_node
    to audit_admin;
