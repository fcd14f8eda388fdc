-- depends: 0001.roles-and-schema

-- What is installed, which tables are tracked, and how.
set local role audit_owner;

create table audit.installation (
    only_row boolean default true primary key,
    files_hash text not null,
    version text not null,
    installed_at timestamptz not null default now(),
    constraint one_row_only check (only_row)
);

comment on table audit.installation is
    'What `pgtrail migrate` last installed: one row.';
comment on column audit.installation.only_row is 'Always true: holds the table to one row.';
comment on column audit.installation.files_hash is 'SHA-256, hex, over the files of migrations/ and sql/ in their order.';
comment on column audit.installation.version is 'The version of pgtrail that installed them.';
comment on column audit.installation.installed_at is 'When they were installed.';

create table audit.category (
    name text primary key,
    label text not null,
    position integer not null,
    constraint category_is_an_identifier check (name ~ '^[a-z][a-z0-9_]{0,62}$')
);

comment on table audit.category is
    'The categories that the log is filtered by. Add your own with an INSERT; audit.track() adds one for a table that names none.';
comment on column audit.category.name is 'The name in filters and commands: lower-case letters, digits and underscores.';
comment on column audit.category.label is 'The name that people read.';
comment on column audit.category.position is 'Order in lists, ascending.';

insert into audit.category (name, label, position) values
    ('api_keys', 'API Keys', 10),
    ('members', 'Members', 20),
    ('teams', 'Teams', 30),
    ('organization', 'Organization', 40),
    ('budgets', 'Budgets', 50),
    ('guardrails', 'Guardrails', 60),
    ('plan', 'Plan', 70),
    ('settings', 'Settings', 80),
    ('data_policy', 'Data Policy', 90),
    ('profile', 'Profile', 100),
    ('password', 'Password', 110),
    ('audit', 'Audit Log', 1000);

create table audit.tracked_table (
    relation regclass primary key,
    name text not null,
    resource text not null,
    category text not null references audit.category (name),
    org text,
    label text,
    actor text,
    ignore text[] not null default '{}',
    secret text[] not null default '{}',
    personal boolean,
    bulk boolean not null default false,
    hot boolean not null default false,
    column_numbers jsonb not null default '{}',
    numbered_oid oid,
    created_at timestamptz not null default now(),
    constraint resource_is_not_empty check (resource <> '')
);

comment on table audit.tracked_table is
    'The tables that have pgtrail''s triggers. Written by audit.track() and audit.untrack().';
comment on column audit.tracked_table.relation is 'The table. A rename is followed.';
comment on column audit.tracked_table.name is 'The table''s name with its schema, quoted where need be, as of the last compilation: the only name of a table that was dropped.';
comment on column audit.tracked_table.resource is 'The resource type of its events, and the first half of their default actions: `key` gives `key.created`.';
comment on column audit.tracked_table.category is 'The category of its events, unless a rule names another.';
comment on column audit.tracked_table.org is 'The column that holds the organization, or the paths to it through other tables, as audit.track() takes them; null: its events belong to no organization.';
comment on column audit.tracked_table.label is 'The column that labels the resource, or the paths to it through other tables, as audit.track() takes them; null: none.';
comment on column audit.tracked_table.actor is 'The column that says who wrote the row, used if the application claims no actor; null: none.';
comment on column audit.tracked_table.ignore is 'Columns that are neither compared nor recorded.';
comment on column audit.tracked_table.secret is 'Columns, and dotted paths into JSON columns (`*` for any key or element, `**` for any number of them), whose values are recorded as "[redacted]".';
comment on column audit.tracked_table.personal is 'Whether its rows are about a person, so that their values can be erased without breaking a seal; null: if a column''s name suggests it.';
comment on column audit.tracked_table.bulk is 'Whether an UPDATE is recorded by statement rather than by row: half the cost where it updates many rows.';
comment on column audit.tracked_table.hot is 'Whether the UPDATE trigger is called for updates of audited columns alone (UPDATE OF), so that all others cost nothing.';
comment on column audit.tracked_table.column_numbers is 'Column name to attnum when the triggers were last compiled: how a renamed column is recognised.';
comment on column audit.tracked_table.numbered_oid is 'The oid of the table whose columns column_numbers has: another than relation''s after a restore, which gives columns other numbers where one had been dropped. Null: not compiled since this was kept.';
comment on column audit.tracked_table.created_at is 'When the table was first tracked.';

create table audit.rule (
    id integer generated always as identity primary key,
    relation regclass not null references audit.tracked_table (relation) on delete cascade,
    operation text not null,
    action text not null,
    category text not null references audit.category (name),
    condition text,
    expression text,
    problem text,
    unique (relation, operation, action),
    constraint operation_is_a_row_change check (operation in ('INSERT', 'UPDATE', 'DELETE')),
    constraint action_has_two_parts check (action ~ '^[a-z][a-z0-9_]*\.[a-z][a-z0-9_]*$')
);

comment on table audit.rule is
    'Names the action of a change. Rules are tried in the order of their ids; within a category the first that matches names the event.';
comment on column audit.rule.id is 'Identity, and the order in which rules are tried.';
comment on column audit.rule.relation is 'The tracked table.';
comment on column audit.rule.operation is 'INSERT, UPDATE or DELETE. A TRUNCATE counts as DELETE.';
comment on column audit.rule.action is 'The action that a match gets, such as `key.rotated`.';
comment on column audit.rule.category is 'The category that a match gets.';
comment on column audit.rule.condition is 'A boolean SQL expression over `old` and `new`, as it was given; null: always.';
comment on column audit.rule.expression is 'The condition as parsed by Postgres, which is compiled; null: always, or there is a problem. Written when the rule is added and at each compilation.';
comment on column audit.rule.problem is 'Why the condition can''t be used for the table as it is now; null: it can.';

create table audit.path_step (
    relation regclass not null references audit.tracked_table (relation) on delete cascade,
    purpose text not null,
    branch smallint not null,
    position smallint not null,
    step_table regclass not null,
    key_number smallint,
    column_number smallint not null,
    step_table_oid oid,
    key_name text,
    column_name text,
    primary key (relation, purpose, branch, "position"),
    constraint purpose_is_org_or_label check (purpose in ('org', 'label')),
    constraint path_begins_in_the_tracked_table check ((position = 0) = (key_number is null))
);

comment on table audit.path_step is
    'The paths from the row of a tracked table to its organization and to its label, step by step, where those are no column of its own. Written by audit.track(); columns by number, so that a rename is followed.';
comment on column audit.path_step.relation is 'The tracked table.';
comment on column audit.path_step.purpose is 'What the path leads to: `org` or `label`.';
comment on column audit.path_step.branch is 'Which of several, from 1: the first that leads to an organization counts; the parts of a label are joined.';
comment on column audit.path_step.position is 'Which step of it, from 0.';
comment on column audit.path_step.step_table is 'The table that the step reads; at position 0 the tracked table itself.';
comment on column audit.path_step.key_number is 'attnum of the column of step_table that the previous step''s value is looked up in; null at position 0.';
comment on column audit.path_step.column_number is 'attnum of the column that the step reads: the value that the next step looks up, in the last step the organization or a part of the label.';
comment on column audit.path_step.step_table_oid is 'The oid of the table whose columns the numbers are of: another than step_table''s after a restore, and then the names hold.';
comment on column audit.path_step.key_name is 'The name of the column of key_number when it was last checked.';
comment on column audit.path_step.column_name is 'The name of the column of column_number when it was last checked.';

create table audit.recorder (
    role_name name primary key,
    table_owner regrole unique nulls not distinct
);

comment on table audit.recorder is
    'Which role records the tables of which owner: application code that runs as one of these can read the tables of that owner alone. Written by audit_internal.assign_recorder().';
comment on column audit.recorder.role_name is 'audit_recorder, audit_recorder_2 …';
comment on column audit.recorder.table_owner is 'The owner whose tables it records; null: superusers.';

create table audit.policy (
    only_row boolean default true primary key,
    on_failure text not null default 'refuse',
    constraint one_row_only check (only_row),
    constraint on_failure_is_known check (on_failure in ('refuse', 'continue'))
);

insert into audit.policy default values;

comment on table audit.policy is
    'Settings of the whole log: one row. Written by audit.set_on_failure().';
comment on column audit.policy.only_row is 'Always true: holds the table to one row.';
comment on column audit.policy.on_failure is '`refuse`: a change that can''t be recorded fails; `continue`: it goes through, and an event says that it was not recorded in full.';

-- What was last seen of triggers and tables, so that a change of them is an event, once -----------------------------

create table audit.own_trigger (
    relation regclass not null,
    trigger_name name not null,
    root regclass not null,
    kind text not null,
    state text not null,
    trigger_version text,
    trigger_altered boolean not null default false,
    function_version text,
    function_digest text,
    function_altered boolean not null default false,
    primary key (relation, trigger_name),
    constraint kind_is_known check (kind in ('capture', 'protection')),
    constraint state_is_known check (state in ('enabled', 'always', 'replica', 'disabled', 'missing'))
);

comment on table audit.own_trigger is
    'pgtrail''s own triggers as they were last seen, so that one that is switched off, dropped or put back is an event, once. Written by audit_internal.watch_triggers().';
comment on column audit.own_trigger.relation is 'The table or partition that has the trigger.';
comment on column audit.own_trigger.trigger_name is 'The trigger.';
comment on column audit.own_trigger.root is 'The tracked table that it captures for, or the table of the log that it protects; a partition''s is its topmost parent.';
comment on column audit.own_trigger.kind is '`capture`: it records changes; `protection`: it refuses changes of the log.';
comment on column audit.own_trigger.state is '`enabled`, `always`, `replica` (it fires in replication only), `disabled` or `missing`.';
comment on column audit.own_trigger.trigger_version is 'Which version of its row in pg_trigger was last compared with what pgtrail creates: only another one is compared again.';
comment on column audit.own_trigger.trigger_altered is 'Whether it differs from what pgtrail creates, in more than being enabled.';
comment on column audit.own_trigger.function_version is 'Which version of its function''s row in pg_proc was last compared with what compiling gives; of the functions that protect the log: a digest of them as installed.';
comment on column audit.own_trigger.function_digest is 'A digest of that function, by which one that was only replaced unchanged, or granted, is recognized without compiling it.';
comment on column audit.own_trigger.function_altered is 'Whether its function differs from what compiling gives.';

create table audit.table_shape (
    relation regclass primary key,
    root regclass not null references audit.tracked_table (relation) on delete cascade,
    shape jsonb not null,
    relatives jsonb not null,
    rewritten boolean not null default false
);

create index table_shape_root on audit.table_shape (root);

comment on table audit.table_shape is
    'The tracked tables and their partitions as they were last seen, so that a change of their schema is an event, once. Written by audit_internal.record_altered_tables().';
comment on column audit.table_shape.relation is 'The table or partition.';
comment on column audit.table_shape.root is 'The tracked table that it is, or is a partition of.';
comment on column audit.table_shape.shape is 'As audit_internal.current_shape() gives it: of expressions (defaults, conditions, policies) only digests.';
comment on column audit.table_shape.relatives is 'As audit_internal.relatives() gives it: of a tracked table the oids of its parents and children; `{}` of a partition.';
comment on column audit.table_shape.rewritten is 'Whether the statement that is being executed rewrites the values of its rows.';

create type audit.finding as (
    problem text,
    subject text,
    finding text,
    hint text
);

comment on type audit.finding is
    'Something that is wrong: the kind of problem, its subject (a table, a destination), what was found, and a hint. See audit.doctor().';
