-- Names, operators and types are Postgres' own, and texts look the same, whatever the server, the database, the role or the
-- environment have set. For this transaction alone: behind a transaction pooler the next one may be somebody else's.
set local search_path = pg_catalog, pg_temp;
set local datestyle = 'ISO';
set local intervalstyle = 'postgres';
set local standard_conforming_strings = on;
set local bytea_output = 'hex';
set local extra_float_digits = 1;
set local array_nulls = on;
set local transform_null_equals = off;
set local quote_all_identifiers = off;
set local row_security = on
