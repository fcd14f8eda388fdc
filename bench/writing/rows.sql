-- About 400 bytes a row.
insert into source.api_key (
    id, org_id, team_id, name, key_prefix, key_hash, allowed_models, allowed_endpoints, ip_allowlist,
    rpm_limit, tpm_limit, max_budget, spend, last_used_at, expires_at, metadata
)
select
    lpad(n::text, 32, '0')::uuid,
    gen_random_uuid(),
    gen_random_uuid(),
    'key ' || n,
    'sk-' || left(md5(n::text), 8),
    encode(sha256(n::text::bytea), 'hex'),
    '{gpt-6,claude-5}',
    '{/v1/chat/completions}',
    '{10.0.0.0/8}',
    60,
    100000,
    250.5,
    n / 100.0,
    now(),
    now() + interval '1 year',
    jsonb_build_object('environment', 'production', 'owner', 'person-' || n || '@acme.example')
from generate_series(1, %(api_key)s::int) as n;

insert into source.narrow (id, org_id, name)
select lpad(n::text, 32, '0')::uuid, gen_random_uuid(), 'key ' || n
from generate_series(1, %(narrow)s::int) as n;

insert into source.wide (id, org_id, name, document)
select
    lpad(n::text, 32, '0')::uuid,
    gen_random_uuid(),
    'key ' || n,
    (
        select jsonb_object_agg('field_' || field, (
            select string_agg(md5(concat_ws('.', n, field, part)), '') from generate_series(1, 6) as part
        ))
        from generate_series(1, 40) as field
    )
from generate_series(1, %(wide)s::int) as n;
