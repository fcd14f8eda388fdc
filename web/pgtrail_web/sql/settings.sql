-- Names, operators and types are Postgres' own, and texts look the same, whatever the server, the database, the role or the
-- environment have set. For this transaction alone: behind a transaction pooler the next one may be somebody else's.
set local search_path = pg_catalog, pg_temp;
set local datestyle = 'ISO';
set local intervalstyle = 'postgres';
set local standard_conforming_strings = on
