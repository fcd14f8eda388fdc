\set n random(1, :rows)
insert into api_key (
    org_id, team_id, name, key_prefix, key_hash, allowed_models, allowed_endpoints, ip_allowlist,
    rpm_limit, tpm_limit, max_budget, spend, last_used_at, expires_at, metadata
)
values (
    '6f1c1e0a-5f4e-4b57-9a8e-0c8e3c5f7a11', '0b7d4a52-93a4-4f0e-8a3c-7de1b0a4c922',
    'key ' || :n::text, 'sk-0c3f9a21',
    '9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08', '{gpt-6,claude-5}', '{/v1/chat/completions}',
    '{10.0.0.0/8}', 60, 100000, 250.5, 0.01, now(), now() + interval '1 year',
    jsonb_build_object('environment', 'production', 'owner', 'person-1@acme.example')
);
