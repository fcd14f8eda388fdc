-- depends: 0004.destinations

-- How far each destination has got, and its attempts.
set local role audit_owner;

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
    constraint reason_is_given check (reason ~ '\S'),
    constraint times_are_of_the_calendar check (
        since >= timestamptz '0001-01-03 00:00:00+00' and since <= timestamptz '9999-12-30 00:00:00+00'
        and until >= timestamptz '0001-01-03 00:00:00+00' and until <= timestamptz '9999-12-30 00:00:00+00'
    )
);

comment on table audit.replay is
    'Events that are sent again, alongside new ones: under the same ids, by a cursor of their own.';
comment on column audit.replay.id is 'Identity.';
comment on column audit.replay.destination_id is 'The destination.';
comment on column audit.replay.since is 'Only events that occurred at this time or later; null: from the beginning.';
comment on column audit.replay.until is 'Only events that occurred before this time; null: to the moment of the request.';
comment on column audit.replay.event_ids is 'Only these events; null: all.';
comment on column audit.replay.redrive is 'Whether they are dead letters that are to be tried again.';
comment on column audit.replay.reason is 'Why, as given in the request.';
comment on column audit.replay.requested_by is 'The role that asked for it.';
comment on column audit.replay.requested_at is 'When.';
comment on column audit.replay.finished_at is 'When its last event was delivered or became a dead letter; null: it is not finished.';

create table audit.cursor (
    id bigint generated always as identity primary key,
    destination_id bigint not null references audit.destination (id) on delete cascade,
    replay_id bigint unique references audit.replay (id) on delete cascade,
    system_identifier bigint not null,
    batch_from pg_snapshot not null,
    batch_to pg_snapshot,
    batch_last_id bigint,
    restored_id bigint not null default 0,
    takes_restored boolean not null default false,
    last_sent_id bigint not null default 0,
    sent_ahead bigint[] not null default '{}',
    failures integer not null default 0,
    failing_since timestamptz,
    retry_at timestamptz,
    last_attempt_at timestamptz,
    last_success_at timestamptz,
    last_error text,
    needs_attention boolean not null default false,
    broken text,
    dead_in_row integer not null default 0,
    lease_holder text,
    lease_until timestamptz,
    lease_token bigint not null default 0,
    constraint failures_are_counted check (failures >= 0),
    constraint failing_since_the_first_failure check ((failures > 0) = (failing_since is not null))
);

create unique index cursor_of_destination on audit.cursor (destination_id) where replay_id is null;

comment on table audit.cursor is
    'How far a destination, or a replay to it, has got: a batch is what is visible in batch_to and was not in batch_from.';
comment on column audit.cursor.id is 'Identity; what the worker serves.';
comment on column audit.cursor.destination_id is 'The destination.';
comment on column audit.cursor.replay_id is 'The replay that it belongs to; null: it follows the log.';
comment on column audit.cursor.system_identifier is 'The cluster that the snapshots belong to: transaction ids mean nothing in another.';
comment on column audit.cursor.batch_from is 'All events that it sees have been sent.';
comment on column audit.cursor.batch_to is 'The batch in progress reaches to here; null: none is in progress.';
comment on column audit.cursor.batch_last_id is 'No event of the batch in progress has a higher id; null: not known.';
comment on column audit.cursor.restored_id is 'Events to this id were restored from another cluster, whose transaction ids mean nothing here.';
comment on column audit.cursor.takes_restored is 'Whether they belong to the batch that is in progress or next.';
comment on column audit.cursor.last_sent_id is 'Of the batch in progress, all events up to this id have been delivered or are dead letters.';
comment on column audit.cursor.sent_ahead is 'Ids above last_sent_id that have been delivered or are dead letters too.';
comment on column audit.cursor.failures is 'Failed attempts since the last success.';
comment on column audit.cursor.failing_since is 'The first failed attempt since the last success; null: none.';
comment on column audit.cursor.retry_at is 'Not to be tried before this time; null: at once.';
comment on column audit.cursor.last_attempt_at is 'When the outcome of an attempt was last recorded; null: never.';
comment on column audit.cursor.last_success_at is 'When an event was last delivered.';
comment on column audit.cursor.last_error is 'The error of the last failed attempt; null after a success.';
comment on column audit.cursor.needs_attention is 'Whether the last response needs an operator.';
comment on column audit.cursor.broken is 'Why no worker can serve it: its settings can''t be used, or its events not be read or rendered; null: it can be served.';
comment on column audit.cursor.dead_in_row is 'How many events became dead letters since the last one that was delivered.';
comment on column audit.cursor.lease_holder is 'The worker that is serving it; null: none.';
comment on column audit.cursor.lease_until is 'Another worker may take it after this time.';
comment on column audit.cursor.lease_token is 'Fencing token: grows each time that the lease changes hands. A worker with an older one can''t move the cursor.';

create table audit.attempt (
    id bigint generated always as identity primary key,
    destination_id bigint not null references audit.destination (id) on delete cascade,
    replay_id bigint,
    attempted_at timestamptz not null default clock_timestamp(),
    worker text not null,
    delivered integer not null,
    dead_letters integer not null default 0,
    first_event_id bigint,
    last_event_id bigint,
    failed_event_id bigint,
    status integer,
    error text,
    retry_at timestamptz,
    constraint failure_is_explained check ((failed_event_id is null) = (error is null)),
    constraint dead_letters_are_counted check (dead_letters >= 0)
);

create index attempt_destination on audit.attempt (destination_id, id);

comment on table audit.attempt is
    'Attempts: a row for each run of requests that ended in a failure or at the end of a batch. Kept for 30 days.';
comment on column audit.attempt.id is 'Identity.';
comment on column audit.attempt.destination_id is 'The destination.';
comment on column audit.attempt.replay_id is 'The replay that it belongs to; null: new events.';
comment on column audit.attempt.attempted_at is 'When the outcome was recorded.';
comment on column audit.attempt.worker is 'The worker that tried: host and process.';
comment on column audit.attempt.delivered is 'How many events the destination accepted.';
comment on column audit.attempt.dead_letters is 'How many events the destination refused for good.';
comment on column audit.attempt.first_event_id is 'The first of them; null: none.';
comment on column audit.attempt.last_event_id is 'The last of them; null: none.';
comment on column audit.attempt.failed_event_id is 'The event that it did not accept; null: none.';
comment on column audit.attempt.status is 'The HTTP status of the last response; null: there was none.';
comment on column audit.attempt.error is 'Why it failed, without any part of the event; null: it did not.';
comment on column audit.attempt.retry_at is 'When it is tried again; null: it did not fail.';

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

comment on table audit.dead_letter is
    'Events that a destination refused, and that were skipped.';
comment on column audit.dead_letter.destination_id is 'The destination.';
comment on column audit.dead_letter.event_id is 'The event; its row stays in audit.event.';
comment on column audit.dead_letter.status is 'The HTTP status of the refusal.';
comment on column audit.dead_letter.error is 'The receiver''s error, without any part of the event.';
comment on column audit.dead_letter.attempts is 'How many times it was refused on its own.';
comment on column audit.dead_letter.first_at is 'When it was refused first.';
comment on column audit.dead_letter.last_at is 'When it was refused last.';
comment on column audit.dead_letter.delivered_at is 'When a redrive delivered it after all; null: it has not been.';

create table audit.worker (
    name text primary key,
    seen_at timestamptz not null default clock_timestamp()
);

comment on table audit.worker is
    'The running workers, so that each takes its share of the destinations.';
comment on column audit.worker.name is 'Host, process and a random part.';
comment on column audit.worker.seen_at is 'When it last reported.';
