-- depends: 0008.histories

set local role audit_owner;

create table audit.org_step (
    relation regclass not null references audit.tracked_table (relation) on delete cascade,
    alternative smallint not null,
    position smallint not null,
    place regclass not null,
    key_number smallint,
    column_number smallint not null,
    primary key (relation, alternative, position),
    constraint way_begins_in_the_tracked_table check ((position = 0) = (key_number is null))
);

comment on table audit.org_step is
    'The ways from the row of a tracked table to its organization, step by step, where that is no column of its own. Written by audit.track(); columns by number, so that a rename is followed.';
comment on column audit.org_step.relation is 'The tracked table.';
comment on column audit.org_step.alternative is 'Which way, from 1: the first that leads to an organization counts.';
comment on column audit.org_step.position is 'Which step of it, from 0.';
comment on column audit.org_step.place is 'The table that the step looks in; at position 0 the tracked table itself.';
comment on column audit.org_step.key_number is 'attnum of the column of place that the step before is looked for in; null at position 0.';
comment on column audit.org_step.column_number is 'attnum of the column that the step reads: what the next one looks for, at the last the organization.';

comment on column audit.tracked_table.org is
    'The column that holds the organization, or the ways to it through other tables, as audit.track() takes them; null: its events belong to no organization.';
