-- depends: 0003.event

set local role audit_owner;

create table audit.format (
    name text primary key,
    content_type text not null,
    max_events integer not null,
    constraint max_events_is_positive check (max_events > 0)
);

comment on table audit.format is
    'How events are rendered for a destination: by the function audit.render_<name>(audit.event).';
comment on column audit.format.name is 'What `destination add --format` takes.';
comment on column audit.format.content_type is 'The Content-Type header of a request.';
comment on column audit.format.max_events is 'The most events that one request may carry.';

create table audit.destination (
    id bigint generated always as identity primary key,
    name text not null unique,
    format text not null references audit.format (name),
    url text not null,
    categories text[],
    actions text[],
    orgs text[],
    since timestamptz,
    allow_http boolean not null default false,
    paused boolean not null default false,
    created_at timestamptz not null default now(),
    constraint name_is_one_word check (name ~ '^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$'),
    constraint url_has_host_and_no_user check (url ~ '^https?://([^][/?#@:\s\\[:cntrl:]]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?([/?#][^\s[:cntrl:]]*)?$'),
    constraint url_is_https check (url like 'https://%' or allow_http)
);

comment on table audit.destination is 'Where events are forwarded. Written by audit.add_destination() and its like.';
comment on column audit.destination.id is 'Identity.';
comment on column audit.destination.name is 'What commands take: letters, digits, dots, dashes and underscores, at most 63.';
comment on column audit.destination.format is 'How events are rendered.';
comment on column audit.destination.url is 'Where they are posted: https, without user info.';
comment on column audit.destination.categories is 'Only events of these categories; null: all.';
comment on column audit.destination.actions is 'Only events whose action matches one of these patterns (`key.*`); null: all.';
comment on column audit.destination.orgs is 'Only events of these organizations; null: all.';
comment on column audit.destination.since is 'Only events that occurred at this time or later; null: all since it was added.';
comment on column audit.destination.allow_http is 'Whether an operator allowed http for it.';
comment on column audit.destination.paused is 'Whether an operator paused it. Its cursor stays.';
comment on column audit.destination.created_at is 'When it was added.';

create table audit.destination_secret (
    destination_id bigint primary key references audit.destination (id) on delete cascade,
    secret text not null,
    created_at timestamptz not null default now(),
    constraint secret_is_standard_webhooks check (secret ~ '^whsec_[A-Za-z0-9+/]{32,86}={0,2}$')
);

comment on table audit.destination_secret is 'The signing secrets. Only audit_forwarder reads them.';
comment on column audit.destination_secret.destination_id is 'The destination.';
comment on column audit.destination_secret.secret is '`whsec_` and 24 to 64 bytes in base64 (Standard Webhooks 1.0.0).';
comment on column audit.destination_secret.created_at is 'When it was made.';

create table audit.cursor (
    destination_id bigint primary key references audit.destination (id) on delete cascade,
    system_identifier bigint not null,
    batch_from pg_snapshot not null,
    batch_to pg_snapshot,
    last_sent_id bigint not null default 0,
    failures integer not null default 0,
    retry_at timestamptz,
    last_success_at timestamptz,
    last_error text,
    lease_holder text,
    lease_until timestamptz,
    lease_token bigint not null default 0,
    constraint failures_are_counted check (failures >= 0)
);

comment on table audit.cursor is
    'How far a destination has got: a batch is what is visible in batch_to and was not in batch_from.';
comment on column audit.cursor.destination_id is 'The destination.';
comment on column audit.cursor.system_identifier is 'The cluster that the snapshots belong to: transaction ids mean nothing in another.';
comment on column audit.cursor.batch_from is 'Everything visible in it has been sent.';
comment on column audit.cursor.batch_to is 'The batch in progress reaches to here; null: none is in progress.';
comment on column audit.cursor.last_sent_id is 'The batch in progress has been sent to this id.';
comment on column audit.cursor.failures is 'Failed attempts since the last success.';
comment on column audit.cursor.retry_at is 'Not to be tried before this time; null: at once.';
comment on column audit.cursor.last_success_at is 'When an event was last delivered.';
comment on column audit.cursor.last_error is 'What the last failed attempt met; null after a success.';
comment on column audit.cursor.lease_holder is 'The worker that is serving it; null: none.';
comment on column audit.cursor.lease_until is 'Another worker may take it after this time.';
comment on column audit.cursor.lease_token is 'Fencing token: grows each time that the lease changes hands. A worker with an older one can move nothing.';

create table audit.attempt (
    id bigint generated always as identity primary key,
    destination_id bigint not null references audit.destination (id) on delete cascade,
    attempted_at timestamptz not null default clock_timestamp(),
    worker text not null,
    delivered integer not null,
    first_event_id bigint,
    last_event_id bigint,
    failed_event_id bigint,
    status integer,
    error text,
    retry_at timestamptz,
    constraint failure_is_explained check ((failed_event_id is null) = (error is null))
);

create index attempt_destination on audit.attempt (destination_id, id);

comment on table audit.attempt is
    'What was tried: a row for each run of requests that ended in a failure or at the end of a batch. Kept for 30 days.';
comment on column audit.attempt.id is 'Identity.';
comment on column audit.attempt.destination_id is 'The destination.';
comment on column audit.attempt.attempted_at is 'When the outcome was recorded.';
comment on column audit.attempt.worker is 'The worker that tried: host and process.';
comment on column audit.attempt.delivered is 'How many events the destination accepted.';
comment on column audit.attempt.first_event_id is 'The first of them; null: none.';
comment on column audit.attempt.last_event_id is 'The last of them; null: none.';
comment on column audit.attempt.failed_event_id is 'The event that it did not accept; null: none.';
comment on column audit.attempt.status is 'The HTTP status of the last answer; null: there was none.';
comment on column audit.attempt.error is 'Why it failed, without anything of the event; null: it did not.';
comment on column audit.attempt.retry_at is 'When it is tried again; null: it did not fail.';
