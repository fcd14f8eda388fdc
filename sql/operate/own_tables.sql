-- pgtrail tracks its own configuration tables.

select audit.track('audit.destination', resource => 'destination', category => 'audit', label => 'name',
    ignore => '{created_at}', secret => '{url}', reveal => '{token_env,token_file}');
select audit.rule('audit.destination', 'audit.destination_added', 'audit', 'INSERT');
select audit.rule('audit.destination', 'audit.destination_paused', 'audit', 'UPDATE', 'new.paused and not old.paused');
select audit.rule('audit.destination', 'audit.destination_resumed', 'audit', 'UPDATE', 'old.paused and not new.paused');
select audit.rule('audit.destination', 'audit.destination_removed', 'audit', 'UPDATE',
    'new.leaving is not null and old.leaving is null');
select audit.rule('audit.destination', 'audit.destination_changed', 'audit', 'UPDATE');
select audit.rule('audit.destination', 'audit.destination_removed', 'audit', 'DELETE', 'old.leaving is null');
select audit.rule('audit.destination', 'audit.destination_gone', 'audit', 'DELETE');

select audit.track('audit.destination_secret', resource => 'destination_secret', category => 'audit', label => 'kind',
    ignore => '{created_at}', secret => '{secret,previous}');
select audit.rule('audit.destination_secret', 'audit.destination_secret_set', 'audit', 'INSERT');
select audit.rule('audit.destination_secret', 'audit.destination_secret_rotated', 'audit', 'UPDATE');
select audit.rule('audit.destination_secret', 'audit.destination_secret_removed', 'audit', 'DELETE');

select audit.track('audit.replay', resource => 'replay', category => 'audit', label => 'reason',
    ignore => '{requested_at,finished_at}');
select audit.rule('audit.replay', 'audit.dead_letters_redriven', 'audit', 'INSERT', 'new.redrive');
select audit.rule('audit.replay', 'audit.replay_requested', 'audit', 'INSERT');
select audit.rule('audit.replay', 'audit.replay_removed', 'audit', 'DELETE');

select audit.track('audit.org_grant', resource => 'org_grant', category => 'audit', org => 'org_id', label => 'role_name',
    ignore => '{granted_at}');
select audit.rule('audit.org_grant', 'audit.org_granted', 'audit', 'INSERT');
select audit.rule('audit.org_grant', 'audit.org_revoked', 'audit', 'DELETE');

select audit.track('audit.tracked_table', resource => 'tracked_table', category => 'audit', label => 'name',
    ignore => '{column_numbers,numbered_oid,created_at}', reveal => '{secret}');
select audit.rule('audit.tracked_table', 'audit.table_tracked', 'audit', 'INSERT');
select audit.rule('audit.tracked_table', 'audit.table_changed', 'audit', 'UPDATE');
select audit.rule('audit.tracked_table', 'audit.table_untracked', 'audit', 'DELETE');

-- Its rules are added before its triggers exist, so that they are not recorded as unnamed events.
insert into audit.tracked_table (relation, name, resource, category, label, ignore)
values ('audit.rule', 'audit.rule', 'rule', 'audit', 'action', '{expression,problem}')
on conflict do nothing;
select audit.rule('audit.rule', 'audit.rule_added', 'audit', 'INSERT');
select audit.rule('audit.rule', 'audit.rule_changed', 'audit', 'UPDATE');
select audit.rule('audit.rule', 'audit.rule_dropped', 'audit', 'DELETE');
select audit.track('audit.rule', resource => 'rule', category => 'audit', label => 'action', ignore => '{expression,problem}');

select audit.track('audit.policy', resource => 'policy', category => 'audit');
select audit.rule('audit.policy', 'audit.policy_changed', 'audit', 'UPDATE');

select audit.track('audit.retention', resource => 'retention', category => 'audit', label => 'category');
select audit.rule('audit.retention', 'audit.retention_set', 'audit', 'INSERT');
select audit.rule('audit.retention', 'audit.retention_set', 'audit', 'UPDATE');
select audit.rule('audit.retention', 'audit.retention_cleared', 'audit', 'DELETE');

select audit.track('audit.legal_hold', resource => 'legal_hold', category => 'audit', org => 'org_id', label => 'name',
    ignore => '{placed_at}');
select audit.rule('audit.legal_hold', 'audit.hold_placed', 'audit', 'INSERT');
select audit.rule('audit.legal_hold', 'audit.hold_released', 'audit', 'DELETE');

select audit.track('audit.node', resource => 'node', category => 'audit', label => 'name', ignore => '{added_at,removed_at}');
select audit.rule('audit.node', 'audit.node_added', 'audit', 'INSERT');
select audit.rule('audit.node', 'audit.node_removed', 'audit', 'UPDATE', 'new.subscription is null');
select audit.rule('audit.node', 'audit.node_added', 'audit', 'UPDATE');
