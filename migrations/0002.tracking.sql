-- depends: 0001.roles-and-schema

set local role audit_owner;

create table audit.installation (
    only_row boolean primary key default true,
    files_hash text not null,
    version text not null,
    installed_at timestamptz not null default now(),
    constraint one_row_only check (only_row)
);

comment on table audit.installation is
    'What `pgtrail migrate` installed last: one row.';
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
comment on column audit.category.name is 'What filters and commands take: lower-case letters, digits and underscores.';
comment on column audit.category.label is 'What people read.';
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
    resource text not null,
    category text not null references audit.category (name),
    org text,
    label text,
    ignore text[] not null default '{}',
    secret text[] not null default '{}',
    column_numbers jsonb not null default '{}',
    created_at timestamptz not null default now(),
    constraint resource_is_not_empty check (resource <> '')
);

comment on table audit.tracked_table is
    'The tables that have pgtrail''s triggers. Written by audit.track() and audit.untrack().';
comment on column audit.tracked_table.relation is 'The table. A rename is followed.';
comment on column audit.tracked_table.resource is 'The resource type of its events, and the first half of their default actions: `key` gives `key.created`.';
comment on column audit.tracked_table.category is 'The category of its events, unless a rule names another.';
comment on column audit.tracked_table.org is 'The column that holds the organization; null: its events belong to no organization.';
comment on column audit.tracked_table.label is 'The column that people know the resource by; null: none.';
comment on column audit.tracked_table.ignore is 'Columns that are neither compared nor recorded.';
comment on column audit.tracked_table.secret is 'Columns, and dotted paths into JSON columns (`*` for any key or element, `**` for any number of them), whose values are recorded as "[redacted]".';
comment on column audit.tracked_table.column_numbers is 'Column name to attnum when the triggers were last compiled: how a renamed column is recognised.';
comment on column audit.tracked_table.created_at is 'When the table was first tracked.';

create table audit.rule (
    id integer generated always as identity primary key,
    relation regclass not null references audit.tracked_table (relation) on delete cascade,
    operation text not null,
    action text not null,
    category text not null references audit.category (name),
    condition text,
    constraint operation_is_a_row_change check (operation in ('INSERT', 'UPDATE', 'DELETE')),
    constraint action_has_two_parts check (action ~ '^[a-z][a-z0-9_]*\.[a-z][a-z0-9_]*$'),
    unique (relation, operation, action)
);

comment on table audit.rule is
    'Names the action of a change. Rules are tried in the order of their ids; within a category the first that matches names the event.';
comment on column audit.rule.id is 'Identity, and the order in which rules are tried.';
comment on column audit.rule.relation is 'The tracked table.';
comment on column audit.rule.operation is 'INSERT, UPDATE or DELETE. A TRUNCATE counts as DELETE.';
comment on column audit.rule.action is 'The action that a match gets, such as `key.rotated`.';
comment on column audit.rule.category is 'The category that a match gets.';
comment on column audit.rule.condition is 'A boolean SQL expression over `old` and `new`; null: always. It is compiled into a function that runs as audit_owner.';
