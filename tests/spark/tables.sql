-- An application of many organizations, with each kind of value that a column can have.
create schema shop;

create table shop.organization (id text primary key, name text);
create table shop.api_key (
    id bigint generated always as identity primary key,
    org_id text references shop.organization,
    name text,
    scopes text[],
    key_hash text,
    rpm_limit integer,
    budget numeric,
    disabled boolean default false,
    metadata jsonb
);
create table shop.measure (
    id uuid primary key default gen_random_uuid(),
    org_id text,
    ratio double precision,
    amount numeric,
    large bigint,
    counts bigint[],
    matrix integer[],
    content bytea,
    raw json,
    measured_at timestamptz,
    valid tstzrange,
    network cidr,
    note text
);
create table shop.setting (org_id text, name text, value jsonb, primary key (org_id, name));

select audit.track('shop.organization', 'organization', 'organization', org => 'id', label => 'name');
select audit.track('shop.api_key', 'key', 'api_keys', org => 'org_id', label => 'name', ignore => '{budget}', secret => '{metadata.**.?}');
select audit.rule('shop.api_key', 'key.rotated', 'api_keys', 'UPDATE', 'new.key_hash is distinct from old.key_hash');
select audit.track('shop.measure', 'measure', 'budgets', org => 'org_id', label => 'note');
select audit.track('shop.setting', 'setting', 'settings', org => 'org_id', label => 'name');
