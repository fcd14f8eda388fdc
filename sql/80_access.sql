-- Who may do what: the one place where anything is granted.
-- Readers see rows through policies; everybody else sees nothing.

create or replace function audit.grant_org(role_name name, org_id text)
returns void
language plpgsql
volatile
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
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
    delete from audit.org_grant
    where org_grant.role_name = revoke_org.role_name and org_grant.org_id = revoke_org.org_id
$$;

comment on function audit.revoke_org(name, text) is 'Takes audit.grant_org() back.';

alter table audit.org_grant enable row level security;
alter table audit.event enable row level security;
alter table audit.org_label enable row level security;
alter table audit.filed enable row level security;

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

-- An organization's name, and where its events are filed, is seen by whoever sees its events.
do $$
declare
    policy record;
begin
    for policy in
        select *
        from unnest(array['event', 'org_label', 'filed']) as relation_name
        cross join (values
            ('granted_orgs', 'audit_reader', 'org_id in (select org_grant.org_id from audit.org_grant)'),
            -- (As a subquery it is one value for the whole statement: found once.)
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

-- Functions are executable by everyone unless someone says otherwise.
revoke execute on all functions in schema audit from public;
-- (In all schemas: what is revoked in one alone does not take back what holds everywhere.)
alter default privileges for role audit_owner revoke execute on functions from public;

-- The owner itself can't change what is recorded.
revoke update, delete, truncate on audit.event, audit.seal, audit.seal_leaves, audit.node_seal, audit.node_seal_leaves
    from audit_owner;
-- Only these fields, and only inside an erasure: audit.refuse_change() sees to it.
grant update (actor_id, actor_label, actor_ip, user_agent, resource_label, before, after) on audit.event to audit_owner;

-- Everyone: an application names its actor without any other grant.
grant usage on schema audit to public;
grant execute on function audit.set_actor(text, text, text, inet, text, text, text) to public;

-- Readers.
grant select on
    audit.event, audit.filed, audit.filing, audit.org_label, audit.org_grant, audit.category, audit.log, audit.diff, audit.export, audit.export_fields,
    audit.api_keys, audit.members, audit.teams, audit.organization, audit.budgets, audit.guardrails, audit.plan,
    audit.settings, audit.data_policy, audit.profile, audit.password,
    audit.today, audit.last_7_days, audit.last_30_days
    to audit_reader, audit_org_reader, audit_auditor, audit_admin, audit_forwarder;
grant execute on function
    audit.label_of_org(text),
    audit.row_before(audit.event), audit.details(jsonb, jsonb, text[]), audit.told_details(jsonb, jsonb, text[]),
    audit.field_details(text, jsonb, jsonb), audit.told_fields(jsonb, jsonb, text[]), audit.cut_value(jsonb, integer),
    audit.changed_members(text, jsonb, jsonb, integer),
    audit.short_details(jsonb, jsonb, text[], integer), audit.rfc3339(timestamptz), audit.spreadsheet_safe(text), audit.blanks(), audit.spreadsheet_time(timestamptz), audit.spreadsheet_value(jsonb), audit.glob(text[]),
    audit.matches(audit.event, text[], text[], text[]), audit.is_in_range(timestamptz, bigint, audit.filter), audit.filter(jsonb),
    audit.check_options(text, jsonb, jsonb),
    audit.moment(text), audit.check_moments(timestamptz[]), audit.check_category(text),
    audit.batch(pg_snapshot, pg_snapshot), audit.transactions_open_in(pg_snapshot), audit.event_json(audit.event), audit.render_webhook(audit.event),
    audit.render_cloudevents(audit.event), audit.render_cloudevents_batch(audit.event),
    audit.render_splunk_hec(audit.event), audit.render_datadog(audit.event), audit.render_elastic(audit.event),
    audit.render_ocsf(audit.event), audit.render_sentinel(audit.event), audit.render_ndjson(audit.event),
    audit.render(audit.event, text), audit.event_object(audit.event), audit.recorded_object(audit.event), audit.event_summary(audit.event),
    audit.merge_objects(json, json), audit.email_address(text), audit.epoch_milliseconds(timestamptz),
    audit.uri_escape(text), audit.percent_encode(text), audit.shorten_row(jsonb, integer),
    audit.smallest_fields(jsonb, integer), audit.operation_kind(text), audit.ocsf_type(audit.event),
    audit.ocsf_user(audit.event), audit.ocsf_managed_entity(audit.event, jsonb), audit.ocsf_object(audit.event),
    audit.ocsf_unmapped(audit.event), audit.prove(bigint), audit.proof(audit.event),
    audit.record_export(jsonb, bigint), audit.check_patterns(text[]), audit.passes(audit.event, audit.filter),
    audit.has_nodes(), audit.visible_nodes(integer),
    audit.visible_orgs(), audit.removed_until(), audit.visible_from(audit.filter), audit.narrowed(audit.filter), audit.goes_by_org(audit.filter), audit.kinds(),
    audit.known_orgs(integer), audit.unmatched(audit.filter),
    audit.horizon(audit.filter, integer), audit.has_index_of_its_own(audit.filter), audit.newest(audit.filter, integer),
    audit.unfiled(), audit.goes_by_actor(audit.filter), audit.newest_filed(audit.filter, integer),
    audit.filed_kinds(), audit.may_hold(audit.filed, audit.filter, text, text, text),
    audit.filed_events(audit.filter, text, text, text, integer), audit.newest_of_filed(audit.filter, integer),
    audit.search(jsonb, integer, integer), audit.arrived(jsonb, pg_snapshot, integer),
    audit.neighbours(text, text, text, timestamptz, bigint), audit.is_of_time_alone(audit.filter),
    audit.counted(jsonb, text, integer), audit.export_statement(audit.filter, boolean), audit.begin_export(jsonb, boolean),
    audit.sealed_in(audit.event), audit.check_event(audit.event),
    audit.event_uid(audit.event), audit.event_name(audit.event), audit.event_id(text)
    to audit_reader, audit_org_reader, audit_auditor, audit_admin, audit_forwarder;

-- Who sees every organization sees the configuration too, but no secret.
grant select on
    audit.installation, audit.tracked_table, audit.path_step, audit.rule, audit.format, audit.destination, audit.cursor, audit.attempt,
    audit.destination_status, audit.dead_letter, audit.replay, audit.worker
    to audit_auditor, audit_admin, audit_forwarder;
grant execute on function
    audit.is_for(audit.event, audit.destination), audit.is_news_for(audit.event, audit.destination), audit.backlog(audit.destination, audit.cursor),
    audit.cursor_state(audit.cursor), audit.destination_id(text),
    audit.ping_event(), audit.system_identifier(), audit.doctor(), audit.partition_bounds(), audit.qualified_name(regclass),
    audit.identity_columns(regclass), audit.identity_index(regclass), audit.count_unsealed(integer),
    audit.retention_plan(boolean, timestamptz, text), audit.seal_object(audit.seal),
    audit.seal_text(audit.seal), audit.is_hub(), audit.check_is_hub(), audit.node_state()
    to audit_auditor, audit_admin, audit_forwarder;
grant select on
    audit.seal, audit.node, audit.node_seal, audit.erasure, audit.retention, audit.legal_hold, audit.dropped_partition, audit.policy
    to audit_auditor, audit_admin, audit_forwarder;
-- Whoever verifies: with what the seals are computed from. (What it blinds they can read; of who was erased it is gone.)
revoke select on audit.seal_leaves, audit.node_seal_leaves from audit_forwarder;
grant select on
    audit.seal_head, audit.seal_leaves, audit.salt, audit.erased_part, audit.node_seal_leaves, audit.node_salt, audit.node_erased_part,
    audit.node_copy, audit.node_dropped, audit.event_id_seq
    to audit_auditor, audit_admin;
grant execute on function audit.seal(integer), audit.seal_if_due(interval, integer), audit.file_events(integer, integer) to audit_admin, audit_forwarder;
grant execute on function audit.erase_actor(text, text, text[]) to audit_admin;
revoke execute on procedure audit.record_baseline(regclass, bigint) from public;
grant execute on procedure audit.record_baseline(regclass, bigint) to audit_admin;

-- Whoever configures.
grant insert, update, delete on audit.tracked_table, audit.rule, audit.category to audit_admin;
grant execute on function
    audit.track(regclass, text, text, text, text, text[], text[], text[], boolean, boolean, text, boolean),
    audit.untrack(regclass),
    audit.rule(regclass, text, text, text, text),
    audit.drop_rule(regclass, text, text),
    audit.recompile(regclass),
    audit.compile_table(regclass),
    audit.renew_triggers(regclass),
    audit.misfits(),
    audit.renew_relatives(),
    audit.watch_table(regclass),
    audit.create_triggers(regclass),
    audit.records_by_row(audit.tracked_table, text),
    audit.changes_rows_before(regclass),
    audit.update_columns(audit.tracked_table),
    audit.audited_columns(audit.tracked_table),
    audit.is_for_columns(oid, text[]),
    audit.drop_triggers(regclass, boolean),
    audit.drop_orphaned_functions(),
    audit.drop_disowned_functions(regclass),
    audit.allow_reading(regclass),
    audit.granted_recorders(regclass),
    audit.assign_recorder(regclass),
    audit.revoke_reading(regclass),
    audit.is_path(regclass, text),
    audit.written_path(regclass, text, text),
    audit.store_paths(regclass, text, text),
    audit.name_known_orgs(regclass),
    audit.check_stored_column(regclass, text, text),
    audit.columns_of_secret(regclass, text),
    audit.secrets_by_name(regclass, text[]),
    audit.tracked_root(regclass),
    audit.concerned_tables(regclass),
    audit.lock_briefly(regclass[], text),
    audit.lock_for_policies(regclass, regclass[], boolean),
    audit.observe(regclass, regclass, bigint, bigint),
    audit.observed_all(regclass, bigint),
    audit.baseline_batches(regclass),
    audit.own_triggers(regclass[]),
    audit.function_digest(oid),
    audit.is_as_created(oid, regclass),
    audit.fires("char"),
    audit.enable_triggers(regclass),
    audit.watch_triggers(),
    audit.capture_function_name(regclass, text),
    audit.parse_condition(regclass, text, text),
    audit.looks_secret(text, oid),
    audit.is_secret_words(text, boolean),
    audit.secret_stems(),
    audit.names_secret(text),
    audit.counts_tokens(text),
    audit.is_address_with_secret(text),
    audit.words_of(text),
    audit.name_words(text),
    audit.table_word(text),
    audit.type_kind(oid),
    audit.split_words(text),
    audit.words_of_table(regclass),
    audit.holds_tokens(regclass),
    audit.tokens_by_name(regclass),
    audit.token_columns(regclass),
    audit.is_table_of_settings(text),
    audit.settings_by_name(regclass),
    audit.column_of_path(text, text[]),
    audit.is_secret_or_holds_one(text, text[]),
    audit.present_steps(),
    audit.column_names(regclass),
    audit.check_can_be_tracked(regclass, boolean, boolean),
    audit.checked_source(regclass, text, text),
    audit.partition_tree(regclass),
    audit.trigger_names(),
    audit.installed_triggers(),
    audit.check_is_not_own(regclass, name),
    audit.untracked_children(regclass),
    audit.check_columns(regclass, text[], text),
    audit.check_is_tracked(regclass),
    audit.check_name(text, text, text, text),
    audit.make_partitions(integer),
    audit.maintain(),
    audit.grant_org(name, text),
    audit.revoke_org(name, text),
    audit.add_destination(text, text, text, jsonb),
    audit.rotate_secret(text, interval),
    audit.set_token(text, text),
    audit.pause_destination(text, boolean),
    audit.replay_events(text, text, timestamptz, timestamptz, bigint[], boolean),
    audit.redrive_dead_letters(text, text, bigint[]),
    audit.rebase_destination(text, timestamptz),
    audit.remove_destination(text, boolean),
    audit.set_on_failure(text),
    audit.set_retention(interval, text),
    audit.clear_retention(text),
    audit.place_hold(text, text, text, timestamptz, timestamptz),
    audit.release_hold(text),
    audit.drop_partition(text, text, bytea, boolean, timestamptz, bigint),
    audit.archived_salts(text),
    audit.archived_parts(text)
    to audit_admin;

-- What pgtrail suggest, preset and import call as whoever runs them (sql/adopt/).
grant select on audit.import, audit.import_problem to audit_auditor, audit_admin, audit_forwarder;
grant execute on function
    audit.value_looks_secret(text),
    audit.value_looks_random(text),
    audit.credential_form(),
    audit.looks_secret_within(text),
    audit.marked(text),
    audit.looks_beyond_the_row(text),
    audit.is_trusted_type(oid),
    audit.is_made_by_superusers(oid),
    audit.parts_of_type(oid),
    audit.tells_of_a_person(regclass),
    audit.looks_personal(text),
    audit.split_unquoted(text, text),
    audit.named_table(text[], regclass),
    audit.column_number(regclass, text)
    to audit_admin;

-- Whoever records.
select audit.equip_recorder(role_name) from audit.recorder;

-- The worker.
grant select on audit.destination_secret to audit_forwarder;
grant execute on function
    audit.next_batch(bigint, text, interval, bigint, integer, bigint),
    audit.shortened(bigint, bigint, integer),
    audit.renew_lease(bigint, bigint, interval),
    audit.settle(
        bigint, bigint, bigint[], bigint, bigint[], integer[], text[], integer, bigint, integer, text, interval, text
    ),
    audit.release_lease(bigint, bigint),
    audit.wake_key(),
    audit.note_broken(bigint, text, text),
    audit.worker_is_here(text, interval),
    audit.worker_leaves(text),
    audit.maintain()
    to audit_forwarder;

-- A hub, at a node: what is published, and what tells how far it has got.
drop policy if exists published on audit.event;
create policy published on audit.event
    for select to audit_hub
    using (true);
grant select on
    audit.event, audit.seal, audit.seal_leaves, audit.salt, audit.erased_part, audit.dropped_partition, audit.installation
    to audit_hub;
grant execute on function audit.published_since(bigint, integer), audit.system_identifier(), audit.timeline() to audit_hub;

-- Whoever operates a hub, and may make subscriptions.
grant execute on function
    audit.hub_problems(), audit.init_hub(), audit.check_new_node(text, jsonb, text[]), audit.published_columns(), audit.node_problems(), audit.last_received_seal(text),
    audit.add_node(text, text, bigint, integer, bigint), audit.prepare_for_node(timestamptz), audit.present_slot(text), audit.stop_node(text), audit.remove_node(text),
    audit.register_node(text, bigint, integer, bigint), audit.unregister_node(text),
    audit.own_subscription(text), audit.subscription_name(text), audit.slot_name(text)
    to audit_admin;
