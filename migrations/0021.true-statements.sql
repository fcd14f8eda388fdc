-- depends: 0018.no-statistics

set local role audit_owner;

alter table audit.format
    add column success_codes integer[] not null default '{}';

comment on column audit.format.success_codes is
    'Codes in the body that mean delivered, with one of success_statuses; used where `reads` is code.';
