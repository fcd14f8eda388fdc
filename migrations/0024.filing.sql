-- depends: 0023.lean-capture

set local role audit_owner;

-- Where the events of an actor, and of an action, are: filed some time after they were recorded (audit.file_events()), so that a
-- write does not wait for it. Two indexes took each write 32,000 instructions.
create table audit.filing (
    only_row boolean primary key default true,
    system_identifier bigint,
    to_snapshot pg_snapshot not null default '1:1:',
    foreign_id bigint not null default 0,
    foreign_filed bigint not null default 0,
    merged bigint not null default 0,
    constraint one_row_only check (only_row)
);

comment on table audit.filing is 'How far audit.file_events() has got: one row.';
comment on column audit.filing.only_row is 'There is one row.';
comment on column audit.filing.system_identifier is 'The cluster that to_snapshot is of; null: none yet.';
comment on column audit.filing.to_snapshot is 'Events above foreign_id that this snapshot sees are filed.';
comment on column audit.filing.foreign_id is 'Up to this id events are filed by id: they were recorded in another cluster, whose transaction ids say nothing here.';
comment on column audit.filing.foreign_filed is 'How many of those are: up to this id.';
comment on column audit.filing.merged is 'Rows of audit.filed up to this number have been merged.';

insert into audit.filing default values;

create table audit.filed (
    -- (For publications: of a table without a key they refuse each change.)
    number bigint generated always as identity primary key,
    category text,
    action text,
    actor_hash bigint,
    org_id text,
    first_time timestamptz not null,
    last_time timestamptz not null,
    events integer not null,
    ids bigint[] not null,
    times timestamptz[] not null,
    constraint of_an_actor_or_an_action check ((actor_hash is null) = (action is not null) and (category is null) = (action is null))
);

create index filed_actor on audit.filed (actor_hash, last_time) where actor_hash is not null;
create index filed_actor_org on audit.filed (actor_hash, org_id, last_time) where actor_hash is not null;
create index filed_action on audit.filed (category, action, last_time) where action is not null;

comment on table audit.filed is
    'Where the events of an actor in an organization are, and those of an action in all: a row for up to 1,024 events. Filed by audit.file_events().';
comment on column audit.filed.number is 'Its number.';
comment on column audit.filed.category is 'The category of the action; null: of an actor.';
comment on column audit.filed.action is 'The action; null: of an actor.';
comment on column audit.filed.actor_hash is 'hashtextextended(actor_id, 0), as an id may be longer than an entry of an index; null: of an action.';
comment on column audit.filed.org_id is 'The organization of an actor''s events; null: of none, or of an action.';
comment on column audit.filed.first_time is 'When the first of them occurred.';
comment on column audit.filed.last_time is 'When the last of them occurred.';
comment on column audit.filed.events is 'How many they are.';
comment on column audit.filed.ids is 'Their ids, in the order of time.';
comment on column audit.filed.times is 'When each of them occurred.';

drop index audit.event_action_time;
drop index audit.event_actor;

drop view audit.recording;
alter table audit.event drop column actor_hash;

create view audit.recording as
select
    org_id, category, action, operation, table_name, resource_type, resource_id, resource_hash, resource_label, actor_type,
    actor_id, actor_label, actor_ip, user_agent, request_id, reason, before, after, changed
from audit.event;

comment on view audit.recording is
    'What whoever records may write of an event, with the columns of audit.event: the roles of audit.recorder insert here, and have no right to the log itself.';
