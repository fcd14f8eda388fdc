-- The reference application: an LLM gateway's tables. Examples, tests and benchmarks count on these columns.

create schema nemo;

create table nemo.organization (
    id uuid primary key default gen_random_uuid(),
    name text not null,
    slug text not null unique,
    plan_tier text not null default 'pay_as_you_go',
    logo_url text,
    timezone text not null default 'UTC',
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    constraint plan_tier_is_known check (plan_tier in ('pay_as_you_go', 'tier_2', 'tier_3'))
);

create table nemo.profile (
    id uuid primary key default gen_random_uuid(),
    org_id uuid not null references nemo.organization on delete cascade,
    email text not null,
    full_name text,
    avatar_url text,
    password_hash text,
    timezone text not null default 'UTC',
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now()
);

create table nemo.team (
    id uuid primary key default gen_random_uuid(),
    org_id uuid not null references nemo.organization on delete cascade,
    name text not null,
    description text,
    models text[] not null default '{}',
    rpm_limit integer,
    tpm_limit integer,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now()
);

create table nemo.member (
    id uuid primary key default gen_random_uuid(),
    org_id uuid not null references nemo.organization on delete cascade,
    profile_id uuid references nemo.profile on delete cascade,
    team_id uuid references nemo.team on delete set null,
    email text not null,
    role text not null default 'member',
    status text not null default 'invited',
    invite_token_hash text,
    invited_at timestamptz default now(),
    accepted_at timestamptz,
    expires_at timestamptz,
    constraint role_is_known check (role in ('owner', 'admin', 'member', 'viewer')),
    constraint status_is_known check (status in ('invited', 'active'))
);

create table nemo.api_key (
    id uuid primary key default gen_random_uuid(),
    org_id uuid not null references nemo.organization on delete cascade,
    team_id uuid references nemo.team on delete set null,
    name text not null,
    key_prefix text not null,
    key_hash text not null,
    allowed_models text[] not null default '{}',
    allowed_endpoints text[] not null default '{}',
    ip_allowlist cidr[] not null default '{}',
    rpm_limit integer,
    tpm_limit integer,
    max_budget numeric,
    spend numeric not null default 0,
    last_used_at timestamptz,
    expires_at timestamptz,
    disabled boolean not null default false,
    metadata jsonb not null default '{}',
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now()
);

create table nemo.budget (
    id uuid primary key default gen_random_uuid(),
    org_id uuid not null references nemo.organization on delete cascade,
    name text not null,
    team_id uuid references nemo.team on delete cascade,
    api_key_id uuid references nemo.api_key on delete cascade,
    max_spend numeric not null,
    duration text not null default 'monthly',
    spend numeric not null default 0,
    resets_at timestamptz,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    constraint duration_is_known check (duration in ('daily', 'weekly', 'monthly', 'total'))
);

create table nemo.guardrail (
    id uuid primary key default gen_random_uuid(),
    org_id uuid not null references nemo.organization on delete cascade,
    name text not null,
    kind text not null,
    mode text not null default 'pre_call',
    enabled boolean not null default true,
    config jsonb not null default '{}',
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    constraint kind_is_known check (kind in ('pii', 'prompt_injection', 'keywords', 'custom')),
    constraint mode_is_known check (mode in ('pre_call', 'post_call'))
);

create table nemo.setting (
    org_id uuid not null references nemo.organization on delete cascade,
    name text not null,
    value jsonb not null,
    updated_at timestamptz not null default now(),
    primary key (org_id, name)
);
