-- depends: 0008.histories

set local role audit_owner;

create table audit.path_step (
    relation regclass not null references audit.tracked_table (relation) on delete cascade,
    purpose text not null,
    branch smallint not null,
    position smallint not null,
    place regclass not null,
    key_number smallint,
    column_number smallint not null,
    primary key (relation, purpose, branch, position),
    constraint purpose_is_org_or_label check (purpose in ('org', 'label')),
    constraint path_begins_in_the_tracked_table check ((position = 0) = (key_number is null))
);

comment on table audit.path_step is
    'The paths from the row of a tracked table to its organization and to its label, step by step, where those are no column of its own. Written by audit.track(); columns by number, so that a rename is followed.';
comment on column audit.path_step.relation is 'The tracked table.';
comment on column audit.path_step.purpose is 'What the path leads to: `org` or `label`.';
comment on column audit.path_step.branch is 'Which of several, from 1: the first that leads to an organization counts; the parts of a label are joined.';
comment on column audit.path_step.position is 'Which step of it, from 0.';
comment on column audit.path_step.place is 'The table that the step looks in; at position 0 the tracked table itself.';
comment on column audit.path_step.key_number is 'attnum of the column of place that the step before is looked for in; null at position 0.';
comment on column audit.path_step.column_number is 'attnum of the column that the step reads: what the next one looks for, at the last the organization or a part of the label.';

comment on column audit.tracked_table.org is
    'The column that holds the organization, or the paths to it through other tables, as audit.track() takes them; null: its events belong to no organization.';
comment on column audit.tracked_table.label is
    'The column that people know the resource by, or the paths to it through other tables, as audit.track() takes them; null: none.';

alter table audit.tracked_table add column actor text;

comment on column audit.tracked_table.actor is
    'The column that says who wrote the row, which counts where nobody is claimed to be the actor; null: none.';
