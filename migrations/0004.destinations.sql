-- depends: 0003.event

-- Where events are forwarded, and in which formats.
set local role audit_owner;

create table audit.format (
    name text primary key,
    content_type text not null,
    max_events integer not null,
    max_bytes integer not null default 1048576,
    max_event_bytes integer not null default 1048576,
    prefix text not null default '',
    separator text not null default '',
    suffix text not null default '',
    headers jsonb not null default '{}',
    takes_token boolean not null default false,
    signed boolean not null default false,
    gzip boolean not null default false,
    max_in_flight integer not null default 1,
    reads text not null default 'status',
    success_statuses integer[] not null default '{}',
    success_codes integer[] not null default '{}',
    poison_statuses integer[] not null default '{400,415,422}',
    poison_codes integer[] not null default '{}',
    configuration_statuses integer[] not null default '{401,403,404}',
    configuration_codes integer[] not null default '{}',
    constraint max_events_is_positive check (max_events > 0),
    constraint sizes_are_positive check (max_bytes > 0 and max_event_bytes between 1024 and max_bytes),
    constraint reads_is_known check (reads in ('status', 'code', 'items')),
    constraint in_flight_is_positive check (max_in_flight > 0)
);

comment on table audit.format is
    'How events become requests, and what the responses mean. An event is rendered by the function audit.render_<name>(audit.event).';
comment on column audit.format.name is 'What `destination add --format` takes.';
comment on column audit.format.content_type is 'The Content-Type header of a request.';
comment on column audit.format.max_events is 'The maximum number of events in a request.';
comment on column audit.format.max_bytes is 'The maximum size of a request''s body in bytes, before compression; a single event may be larger.';
comment on column audit.format.max_event_bytes is 'The maximum size of one rendered event in bytes; before and after of a larger one are shortened.';
comment on column audit.format.prefix is 'The beginning of a body.';
comment on column audit.format.separator is 'The text between two events of a body.';
comment on column audit.format.suffix is 'The end of a body.';
comment on column audit.format.headers is 'Headers of each request by name; {token} and {channel} stand for the destination''s.';
comment on column audit.format.takes_token is 'Whether requests carry a token, so that a destination needs one.';
comment on column audit.format.signed is 'Whether requests are signed (Standard Webhooks 1.0.0).';
comment on column audit.format.gzip is 'Whether requests are compressed where the destination does not say otherwise.';
comment on column audit.format.max_in_flight is 'How many requests are in flight at once where the destination does not say otherwise.';
comment on column audit.format.reads is 'What indicates success: `status`, `code` (a number in the body, and invalid-event-number; Splunk) or `items` (a status for each event in the body; Elastic).';
comment on column audit.format.success_statuses is 'HTTP statuses that mean delivered; empty: any 2xx.';
comment on column audit.format.success_codes is 'Codes in the body that mean delivered, with one of success_statuses; used where `reads` is code.';
comment on column audit.format.poison_statuses is 'HTTP statuses that mean a request has an event that the receiver refuses: it is found by bisection and becomes a dead letter.';
comment on column audit.format.poison_codes is 'The same as poison_statuses, for the code in the body.';
comment on column audit.format.configuration_statuses is 'HTTP statuses that an operator has to fix: the destination needs attention.';
comment on column audit.format.configuration_codes is 'The same as configuration_statuses, for the code in the body.';

create table audit.destination (
    id bigint generated always as identity primary key,
    name text not null unique,
    format text not null references audit.format (name),
    url text not null,
    host text generated always as ("substring"(url, '^https?://(\[[^]]*\]|[^/?#:]*)'::text)) stored,
    allow_http boolean not null default false,
    allowed_networks cidr[] not null default '{}',
    categories text[],
    actions text[],
    orgs text[],
    since timestamptz,
    seals boolean not null default false,
    max_in_flight integer,
    gzip boolean,
    token_env text,
    token_file text,
    ca_file text,
    client_cert_file text,
    oauth_url text,
    oauth_client_id text,
    oauth_scope text,
    paused boolean not null default false,
    leaving xid8,
    created_at timestamptz not null default now(),
    constraint name_is_one_word check (name ~ '^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$'),
    constraint url_has_host_and_no_user check (url ~ '^https?://([^][/?#@:\s\\[:cntrl:]]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?([/?#][^\s[:cntrl:]]*)?$'),
    constraint url_is_https check (url like 'https://%' or allow_http),
    constraint in_flight_is_reasonable check (max_in_flight between 1 and 64),
    constraint one_token_source check (num_nonnulls(token_env, token_file) <= 1),
    constraint oauth_is_whole check (num_nonnulls(oauth_url, oauth_client_id, oauth_scope) in (0, 3)),
    constraint categories_are_a_list check (
        case when array_ndims(categories) > 1 then false else array_position(categories, null) is null end
    ),
    constraint actions_are_a_list check (
        case when array_ndims(actions) > 1 then false else array_position(actions, null) is null end
    ),
    constraint orgs_are_a_list check (
        case when array_ndims(orgs) > 1 then false else array_position(orgs, null) is null end
    ),
    constraint allowed_networks_are_a_list check (
        case when array_ndims(allowed_networks) > 1 then false else array_position(allowed_networks, null) is null end
    ),
    constraint since_is_of_the_calendar check (
        since between timestamptz '0001-01-03 00:00:00+00' and timestamptz '9999-12-30 00:00:00+00'
    )
);

comment on table audit.destination is
    'Where events are forwarded. Written by audit.add_destination() and its like.';
comment on column audit.destination.id is 'Identity.';
comment on column audit.destination.name is 'The name in commands: letters, digits, dots, dashes and underscores, at most 63.';
comment on column audit.destination.format is 'How events are rendered.';
comment on column audit.destination.url is 'Where they are posted: https, without user info.';
comment on column audit.destination.host is 'The host of the URL, which is not secret; the rest of some receivers'' URLs is.';
comment on column audit.destination.allow_http is 'Whether an operator allowed http for it.';
comment on column audit.destination.allowed_networks is 'Networks that are not public and that an operator allowed nevertheless.';
comment on column audit.destination.categories is 'Only events of these categories; null: all.';
comment on column audit.destination.actions is 'Only events whose action matches one of these patterns (`key.*`); null: all.';
comment on column audit.destination.orgs is 'Only events of these organizations; null: all.';
comment on column audit.destination.since is 'Only events that occurred at this time or later; null: all since it was added.';
comment on column audit.destination.seals is 'Whether seals are forwarded to it, whatever its filters.';
comment on column audit.destination.max_in_flight is 'Maximum number of requests in flight; the events of one resource stay in order. 1: all events in order. Null: as the format says.';
comment on column audit.destination.gzip is 'Whether requests are compressed; null: as the format says.';
comment on column audit.destination.token_env is 'The environment variable of the worker that holds the token.';
comment on column audit.destination.token_file is 'The file in the worker''s secrets folder that holds the token.';
comment on column audit.destination.ca_file is 'The file in the worker''s secrets folder with the authorities (PEM) that the receiver''s certificate is checked against; null: the system''s.';
comment on column audit.destination.client_cert_file is 'The file in the worker''s secrets folder with the certificate and key (PEM) that the worker shows; null: none.';
comment on column audit.destination.oauth_url is 'Where the token is fetched by client credentials (RFC 6749, 4.4); the token proper is then the client''s secret.';
comment on column audit.destination.oauth_client_id is 'The client''s id there.';
comment on column audit.destination.oauth_scope is 'The scope that is requested.';
comment on column audit.destination.paused is 'Whether an operator paused it. Its cursor stays.';
comment on column audit.destination.leaving is 'The transaction that removed it: it still receives what was recorded until then; null: it has not been removed.';
comment on column audit.destination.created_at is 'When it was added.';

create table audit.destination_secret (
    destination_id bigint not null references audit.destination (id) on delete cascade,
    kind text not null,
    secret text not null,
    created_at timestamptz not null default now(),
    previous text,
    previous_until timestamptz,
    primary key (destination_id, kind),
    constraint kind_is_known check (kind in ('signing', 'token')),
    constraint token_fits_a_header check (secret ~ '^[\x21-\x7e]+$' and length(secret) <= 8192),
    constraint signing_secret_is_standard_webhooks check (
        kind <> 'signing' or secret ~ '^whsec_[A-Za-z0-9+/]{32,86}={0,2}$'
    ),
    constraint previous_ends check ((previous is null) = (previous_until is null)),
    constraint previous_is_standard_webhooks check (previous ~ '^whsec_[A-Za-z0-9+/]{32,86}={0,2}$')
);

comment on table audit.destination_secret is
    'Signing secrets and tokens. Only audit_forwarder reads them; they are never shown again.';
comment on column audit.destination_secret.destination_id is 'The destination.';
comment on column audit.destination_secret.kind is '`signing` (Standard Webhooks) or `token`.';
comment on column audit.destination_secret.secret is 'Signing: `whsec_` and 24 to 64 bytes in base64. Token: 1 to 8192 printable ASCII characters.';
comment on column audit.destination_secret.created_at is 'When it was made.';
comment on column audit.destination_secret.previous is 'The signing secret before the last rotation; both sign until previous_until.';
comment on column audit.destination_secret.previous_until is 'When the previous one ends.';
