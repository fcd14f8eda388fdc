create table generic.log (
    id bigint generated always as identity primary key,
    schema_name text not null,
    table_name text not null,
    action text not null,
    transaction_at timestamptz not null,
    statement_at timestamptz not null,
    recorded_at timestamptz not null,
    xid xid8 not null,
    db_user text not null,
    application_name text,
    client_addr inet,
    old_row jsonb,
    changed_fields jsonb
);

create index on generic.log (statement_at);
create index on generic.log (schema_name, table_name);
create index on generic.log (action);

create function generic.record_change()
returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    ignored text[] := coalesce(tg_argv[0]::text[], '{}');
    old_row jsonb := to_jsonb(old) - ignored;
    new_row jsonb := to_jsonb(new) - ignored;
    changed_fields jsonb := new_row;
begin
    if tg_op = 'UPDATE' then
        select jsonb_object_agg(field.key, field.value)
        into changed_fields
        from jsonb_each(new_row) as field
        where field.value is distinct from old_row -> field.key;
        if changed_fields is null then
            return null;
        end if;
    end if;
    insert into generic.log (
        schema_name, table_name, action, transaction_at, statement_at, recorded_at, xid,
        db_user, application_name, client_addr, old_row, changed_fields
    )
    values (
        tg_table_schema, tg_table_name, tg_op, transaction_timestamp(), statement_timestamp(), clock_timestamp(),
        pg_current_xact_id(), session_user, current_setting('application_name'), inet_client_addr(), old_row,
        changed_fields
    );
    return null;
end
$$;

create trigger record_change
    after insert or update or delete on generic.api_key
    for each row execute function generic.record_change('{spend,last_used_at,updated_at}');

create trigger record_change
    after insert or update or delete on generic.wide
    for each row execute function generic.record_change();

create trigger record_change
    after insert or update or delete on generic.narrow
    for each row execute function generic.record_change();
