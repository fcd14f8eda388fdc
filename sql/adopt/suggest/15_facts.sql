-- What suggest knows of schemas and what it proposes, in temporary tables.

-- Each table and view of the schemas: pg_temp.suggested_tables().
create temporary table pg_temp.table_fact (
    relation regclass,
    words text,
    resource text,
    category text,
    left_out text,
    known boolean
) on commit drop;

-- What a sample of a table's rows shows, by column: pg_temp.read_samples().
create temporary table pg_temp.sample_fact (relation regclass, columns jsonb) on commit drop;

-- The columns that hold settings by name: audit_internal.settings_by_name().
create temporary table pg_temp.setting_fact (relation regclass, value_column text, name_column text) on commit drop;

-- The columns of the proposed tables: pg_temp.suggested_columns().
create temporary table pg_temp.column_fact (
    relation regclass,
    number smallint,
    name text,
    words text,
    kind text,
    is_filled boolean,
    is_key boolean,
    is_foreign boolean,
    ignore_why text,
    secret_why text,
    states text[]
) on commit drop;

-- What is proposed, a row for each table and view; left_out: why it is not to be tracked, null: it is.
create temporary table pg_temp.suggestion (
    relation regclass,
    left_out text,
    resource text,
    category text,
    org text,
    org_why text,
    label text,
    label_why text,
    ignore text[],
    ignore_why text,
    secret text[],
    secret_why text,
    personal boolean,
    actor text,
    notes text[]
) on commit drop;

-- The rules that are proposed, in the order of rank; optional: as a comment only.
create temporary table pg_temp.proposed_rule (
    relation regclass,
    rank bigint,
    operation text,
    action text,
    category text,
    condition text,
    optional boolean,
    why text
) on commit drop;
