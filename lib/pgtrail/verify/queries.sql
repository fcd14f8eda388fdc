-- What `pgtrail verify` asks. A superuser may have replaced whatever lives in the database, so nothing here calls a function,
-- an operator or a view that is not of pg_catalog (the connection's search_path holds nothing else), and no definer either.
-- What looks like a call of one, audit.x(…), is the body of that function in this version's sql/ (sql_functions.py).

-- name: pin
-- Nothing of a superuser's is found by name, no row is hidden without a word, and every text is the same everywhere.
set local search_path = pg_catalog, pg_temp;
set local row_security = off;
set local transaction_read_only = on;
set local timezone = 'UTC';
set local datestyle = 'ISO';
set local intervalstyle = 'postgres';
set local extra_float_digits = 1;
set local bytea_output = 'hex';
set local standard_conforming_strings = on;
set local quote_all_identifiers = off;
set local array_nulls = on;
-- (No check is evaluated to plan a statement.)
set local constraint_exclusion = off;
set local work_mem = '64MB';
-- (Compiling a seal's statement takes longer than running it.)
set local jit = off

-- name: is_under_policies
select row_security_active('audit.event')

-- name: pin_through_policies
set local row_security = on
