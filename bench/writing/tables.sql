-- What the auditors' tables are made like, and filled from. Key number n is lpad(n::text, 32, '0')::uuid.
create schema source;

create table source.api_key (
    like nemo.api_key including defaults including indexes
);

create table source.narrow (
    id uuid primary key default gen_random_uuid(),
    org_id uuid not null,
    name text not null,
    rpm_limit integer not null default 0
);

-- 60 columns: with these four, 28 texts and 28 numbers.
create table source.wide (
    id uuid primary key default gen_random_uuid(),
    org_id uuid not null,
    name text not null,
    document jsonb not null
);

do $$
begin
    for i in 1..28 loop
        execute format(
            'alter table source.wide add column %I text not null default %L, add column %I integer not null default %s',
            'text_' || i, 'a value of column ' || i, 'number_' || i, i
        );
    end loop;
end
$$;

-- Its tables may not have indexes that the auditors' tables have not.
create table nemo.wide (like source.wide including defaults including indexes);
create table nemo.narrow (like source.narrow including defaults including indexes);
