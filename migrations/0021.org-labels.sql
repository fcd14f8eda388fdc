-- depends: 0020.true-statements

set local role audit_owner;

create table audit.org_label (
    org_id text primary key,
    label text not null
);

comment on table audit.org_label is
    'What organizations are called, as their own rows last said: written as a tracked table that is the table of organizations changes (its organization is its key, and it has a label). The names of today, not of an event''s time; no part of a seal.';
comment on column audit.org_label.org_id is 'As in audit.event.org_id.';
comment on column audit.org_label.label is 'The label of the organization''s row, at most 200 characters.';

-- A plan's estimates would tell a reader of one organization what others are called, whatever row security says.
alter table audit.org_label alter column org_id set statistics 0, alter column label set statistics 0;
