-- depends: 0018.no-statistics

set local role audit_owner;

-- A publication of all tables refuses updates and deletes of a table that has no replica identity.
alter table audit.salt replica identity full;
alter table audit.node_salt replica identity full;
alter table audit.node_erased_part replica identity full;

-- A number, which a dump leaves as it is, where it writes a regclass as a name.
alter table audit.tracked_table add column numbered_oid oid;

comment on column audit.tracked_table.numbered_oid is
    'The oid of the table whose columns column_numbers has: another than relation''s after a restore, which gives columns other numbers where one had been dropped. Null: not compiled since this was kept.';
