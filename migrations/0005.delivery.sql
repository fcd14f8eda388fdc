-- depends: 0004.forwarding

set local role audit_owner;

-- What changed its arguments or columns; sql/ makes them anew (and where it has not run yet, there are none).
drop view if exists audit.destination_status;
drop function if exists audit.add_destination(text, text, text, text[], text[], text[], timestamptz, boolean);
drop function if exists audit.check_destination(text, text, text, boolean);
drop function if exists audit.next_batch(bigint, text, integer, interval, bigint);
drop function if exists audit.hold_lease(bigint, text, interval);
drop function if exists audit.settle(bigint, bigint, bigint[], bigint, integer, text, interval);
drop function if exists audit.release_lease(bigint, bigint);
drop function if exists audit.move_cursor(audit.cursor);

alter table audit.format
    add column max_bytes integer not null default 1048576,
    add column max_event_bytes integer not null default 1048576,
    add column prefix text not null default '',
    add column separator text not null default '',
    add column suffix text not null default '',
    add column headers jsonb not null default '{}',
    add column takes_token boolean not null default false,
    add column signed boolean not null default false,
    add column gzip boolean not null default false,
    add column max_in_flight integer not null default 1,
    add column reads text not null default 'status',
    add column success_statuses integer[] not null default '{}',
    add column poison_statuses integer[] not null default '{400,415,422}',
    add column configuration_statuses integer[] not null default '{401,403,404}',
    add column poison_codes integer[] not null default '{}',
    add column configuration_codes integer[] not null default '{}',
    add constraint sizes_are_positive check (max_bytes > 0 and max_event_bytes between 1024 and max_bytes),
    add constraint reads_is_known check (reads in ('status', 'code', 'items')),
    add constraint in_flight_is_positive check (max_in_flight > 0);

comment on table audit.format is
    'How events become requests, and what the answers mean. An event is rendered by the function audit.render_<name>(audit.event).';
comment on column audit.format.max_bytes is 'The most bytes of a request''s body, before compression; one event alone may be larger.';
comment on column audit.format.max_event_bytes is 'The most bytes of one rendered event; of a larger one before and after are shortened.';
comment on column audit.format.prefix is 'What a body begins with.';
comment on column audit.format.separator is 'What stands between two events of a body.';
comment on column audit.format.suffix is 'What a body ends with.';
comment on column audit.format.headers is 'Headers of each request by name; {token} and {channel} stand for the destination''s.';
comment on column audit.format.takes_token is 'Whether requests carry a token, so that a destination needs one.';
comment on column audit.format.signed is 'Whether requests are signed (Standard Webhooks 1.0.0).';
comment on column audit.format.gzip is 'Whether requests are compressed where the destination does not say otherwise.';
comment on column audit.format.max_in_flight is 'How many requests are in flight at once where the destination does not say otherwise.';
comment on column audit.format.reads is 'What tells success: `status`, `code` (a number in the body, and invalid-event-number; Splunk) or `items` (a status for each event in the body; Elastic).';
comment on column audit.format.success_statuses is 'HTTP statuses that mean delivered; empty: any 2xx.';
comment on column audit.format.poison_statuses is 'HTTP statuses by which one event spoils its request: it is looked for and becomes a dead letter.';
comment on column audit.format.configuration_statuses is 'HTTP statuses that an operator has to see to: the destination is held.';
comment on column audit.format.poison_codes is 'The same as poison_statuses, for the code in the body.';
comment on column audit.format.configuration_codes is 'The same as configuration_statuses, for the code in the body.';

alter table audit.destination
    add column host text generated always as (substring(url from '^https?://(\[[^]]*\]|[^/?#:]*)')) stored,
    add column allowed_networks cidr[] not null default '{}',
    add column max_in_flight integer,
    add column gzip boolean,
    add column token_env text,
    add column token_file text,
    add column ca_file text,
    add column client_cert_file text,
    add column oauth_url text,
    add column oauth_client_id text,
    add column oauth_scope text,
    add constraint in_flight_is_reasonable check (max_in_flight between 1 and 64),
    add constraint one_token_source check (num_nonnulls(token_env, token_file) <= 1),
    add constraint oauth_is_whole check (num_nonnulls(oauth_url, oauth_client_id, oauth_scope) in (0, 3));

comment on column audit.destination.host is 'The host of the URL, which is no secret; the rest of some receivers'' URLs is.';
comment on column audit.destination.allowed_networks is 'Networks that are not public and that an operator allowed nevertheless.';
comment on column audit.destination.max_in_flight is 'Most requests in flight at once; the events of one resource stay in order. 1: all events in order. Null: as the format says.';
comment on column audit.destination.gzip is 'Whether requests are compressed; null: as the format says.';
comment on column audit.destination.token_env is 'The environment variable of the worker that holds the token.';
comment on column audit.destination.token_file is 'The file in the worker''s secrets folder that holds the token.';
comment on column audit.destination.ca_file is 'The file in the worker''s secrets folder with the authorities (PEM) that the receiver''s certificate is checked against; null: the system''s.';
comment on column audit.destination.client_cert_file is 'The file in the worker''s secrets folder with the certificate and key (PEM) that the worker shows; null: none.';
comment on column audit.destination.oauth_url is 'Where the token is fetched by client credentials (RFC 6749, 4.4); the token proper is then the client''s secret.';
comment on column audit.destination.oauth_client_id is 'The client''s id there.';
comment on column audit.destination.oauth_scope is 'The scope that is asked for.';

alter table audit.destination_secret
    drop constraint destination_secret_pkey,
    drop constraint secret_is_standard_webhooks,
    add column kind text not null default 'signing',
    add column previous text,
    add column previous_until timestamptz,
    add primary key (destination_id, kind),
    add constraint kind_is_known check (kind in ('signing', 'token')),
    add constraint token_fits_a_header check (secret ~ '^[\x21-\x7e]+$' and length(secret) <= 8192),
    add constraint signing_secret_is_standard_webhooks check (
        kind <> 'signing' or secret ~ '^whsec_[A-Za-z0-9+/]{32,86}={0,2}$'
    ),
    add constraint previous_ends check ((previous is null) = (previous_until is null));
alter table audit.destination_secret alter column kind drop default;

comment on table audit.destination_secret is 'Signing secrets and tokens. Only audit_forwarder reads them; they are never shown again.';
comment on column audit.destination_secret.kind is '`signing` (Standard Webhooks) or `token`.';
comment on column audit.destination_secret.secret is 'Signing: `whsec_` and 24 to 64 bytes in base64. Token: 1 to 8192 printable ASCII characters.';
comment on column audit.destination_secret.previous is 'The signing secret before the last rotation; both sign until previous_until.';
comment on column audit.destination_secret.previous_until is 'When the previous one ends.';

create table audit.replay (
    id bigint generated always as identity primary key,
    destination_id bigint not null references audit.destination (id) on delete cascade,
    since timestamptz,
    until timestamptz,
    event_ids bigint[],
    redrive boolean not null default false,
    reason text not null,
    requested_by name not null default session_user,
    requested_at timestamptz not null default now(),
    finished_at timestamptz,
    constraint something_is_chosen check (num_nonnulls(since, until, event_ids) > 0),
    constraint redrive_names_events check (not redrive or event_ids is not null),
    constraint reason_is_given check (reason ~ '\S')
);

comment on table audit.replay is
    'Events that are sent once more, beside those that are new: under the same ids, by a cursor of their own.';
comment on column audit.replay.id is 'Identity.';
comment on column audit.replay.destination_id is 'The destination.';
comment on column audit.replay.since is 'Only events that occurred at this time or later; null: from the beginning.';
comment on column audit.replay.until is 'Only events that occurred before this time; null: to the moment of the request.';
comment on column audit.replay.event_ids is 'Only these events; null: all.';
comment on column audit.replay.redrive is 'Whether they are dead letters that are to be tried again.';
comment on column audit.replay.reason is 'Why, as whoever asked for it says.';
comment on column audit.replay.requested_by is 'The role that asked for it.';
comment on column audit.replay.requested_at is 'When.';
comment on column audit.replay.finished_at is 'When its last event was delivered or became a dead letter; null: it is not finished.';

alter table audit.cursor
    drop constraint cursor_pkey,
    add column id bigint generated always as identity primary key,
    add column replay_id bigint unique references audit.replay (id) on delete cascade,
    add column foreign_id bigint not null default 0,
    add column takes_foreign boolean not null default false,
    add column batch_last_id bigint,
    add column sent_ahead bigint[] not null default '{}',
    add column failing_since timestamptz,
    add column needs_attention boolean not null default false,
    add column dead_in_row integer not null default 0,
    add column last_attempt_at timestamptz;

update audit.cursor set failing_since = now() where failures > 0;

alter table audit.cursor
    add constraint failing_since_the_first_failure check ((failures > 0) = (failing_since is not null));

create unique index cursor_of_destination on audit.cursor (destination_id) where replay_id is null;

comment on table audit.cursor is
    'How far a destination, or a replay to it, has got: a batch is what is visible in batch_to and was not in batch_from.';
comment on column audit.cursor.id is 'Identity; what the worker serves.';
comment on column audit.cursor.replay_id is 'The replay that it belongs to; null: it follows the log.';
comment on column audit.cursor.foreign_id is 'Events to this id were restored from another cluster, whose transaction ids mean nothing here.';
comment on column audit.cursor.batch_last_id is 'No event of the batch in progress has a higher id; null: not known.';
comment on column audit.cursor.takes_foreign is 'Whether they belong to the batch that is in progress or next.';
comment on column audit.cursor.last_sent_id is 'Of the batch in progress everything to this id has been delivered, or is a dead letter.';
comment on column audit.cursor.sent_ahead is 'Ids above last_sent_id of which the same is true.';
comment on column audit.cursor.failing_since is 'The first failed attempt since the last success; null: none.';
comment on column audit.cursor.needs_attention is 'Whether the last answer is one that an operator has to see to.';
comment on column audit.cursor.dead_in_row is 'How many events became dead letters since the last one that was delivered.';
comment on column audit.cursor.last_attempt_at is 'When the outcome of an attempt was last recorded; null: never.';

create table audit.dead_letter (
    destination_id bigint not null references audit.destination (id) on delete cascade,
    event_id bigint not null,
    status integer,
    error text not null,
    attempts integer not null default 1,
    first_at timestamptz not null default now(),
    last_at timestamptz not null default now(),
    delivered_at timestamptz,
    primary key (destination_id, event_id)
);

comment on table audit.dead_letter is 'Events that a destination refuses, and that it was not held up for.';
comment on column audit.dead_letter.destination_id is 'The destination.';
comment on column audit.dead_letter.event_id is 'The event; its row stays in audit.event.';
comment on column audit.dead_letter.status is 'The HTTP status of the refusal.';
comment on column audit.dead_letter.error is 'What the receiver said, without anything of the event.';
comment on column audit.dead_letter.attempts is 'How many times it was refused by itself.';
comment on column audit.dead_letter.first_at is 'When it was refused first.';
comment on column audit.dead_letter.last_at is 'When it was refused last.';
comment on column audit.dead_letter.delivered_at is 'When a redrive delivered it after all; null: it has not been.';

alter table audit.attempt
    add column replay_id bigint,
    add column dead_letters integer not null default 0,
    add constraint dead_letters_are_counted check (dead_letters >= 0);

comment on column audit.attempt.replay_id is 'The replay that it belongs to; null: new events.';
comment on column audit.attempt.dead_letters is 'How many events the destination refused for good.';

create table audit.worker (
    name text primary key,
    seen_at timestamptz not null default clock_timestamp()
);

comment on table audit.worker is 'The workers that are at work, so that each takes its share of the destinations.';
comment on column audit.worker.name is 'Host, process and a random part.';
comment on column audit.worker.seen_at is 'When it was last heard of.';
