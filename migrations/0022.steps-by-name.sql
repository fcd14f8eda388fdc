-- depends: 0021.org-labels

set local role audit_owner;

-- A restore gives the columns of a table that had lost one other numbers, and a dump writes a regclass as a name.
alter table audit.path_step
    add column place_oid oid,
    add column key_name text,
    add column column_name text;

update audit.path_step as step
set
    place_oid = step.place,
    key_name = (select attname from pg_catalog.pg_attribute where attrelid = step.place and attnum = step.key_number),
    column_name = (select attname from pg_catalog.pg_attribute where attrelid = step.place and attnum = step.column_number);

comment on column audit.path_step.place_oid is
    'The oid of the table whose columns the numbers are of: another than place''s after a restore, and then the names hold.';
comment on column audit.path_step.key_name is 'What the column of key_number was called when it was last looked at.';
comment on column audit.path_step.column_name is 'What the column of column_number was called when it was last looked at.';
