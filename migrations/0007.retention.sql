-- depends: 0006.seals

-- For how long events are kept.
set local role audit_owner;

create table audit.retention (
    id integer generated always as identity primary key,
    category text unique nulls not distinct references audit.category (name),
    keep interval not null,
    constraint keep_is_at_least_a_day check (keep >= interval '1 day'),
    constraint keep_is_at_most_a_thousand_years check (keep <= interval '1000 years')
);

comment on table audit.retention is
    'For how long events are kept: a default, and exceptions by category. Without a row everything is kept.';
comment on column audit.retention.id is 'Identity.';
comment on column audit.retention.category is 'The category; null: all that have no row of their own.';
comment on column audit.retention.keep is 'For how long after they occurred.';

create table audit.legal_hold (
    name text primary key,
    org_id text,
    since timestamptz,
    until timestamptz,
    reason text not null,
    placed_by name not null default session_user,
    placed_at timestamptz not null default now(),
    constraint reason_is_given check (reason ~ '\S'),
    constraint times_are_of_the_calendar check (
        since >= timestamptz '0001-01-03 00:00:00+00' and since <= timestamptz '9999-12-30 00:00:00+00'
        and until >= timestamptz '0001-01-03 00:00:00+00' and until <= timestamptz '9999-12-30 00:00:00+00'
    )
);

comment on table audit.legal_hold is
    'Events that retention may not drop, however old. Written by audit.place_hold() and audit.release_hold().';
comment on column audit.legal_hold.name is 'What commands take.';
comment on column audit.legal_hold.org_id is 'Only events of this organization; null: all.';
comment on column audit.legal_hold.since is 'Only events that occurred at this time or later; null: from the beginning.';
comment on column audit.legal_hold.until is 'Only events that occurred before this time; null: without an end.';
comment on column audit.legal_hold.reason is 'Why.';
comment on column audit.legal_hold.placed_by is 'The role that placed it.';
comment on column audit.legal_hold.placed_at is 'When.';

create table audit.dropped_partition (
    name text primary key,
    begins timestamptz not null,
    ends timestamptz not null,
    events bigint not null,
    ids int8multirange not null,
    archive text,
    archive_sha256 bytea,
    dropped_by name not null default session_user,
    dropped_at timestamptz not null default clock_timestamp(),
    event_id bigint,
    constraint archive_has_a_digest check ((archive is null) = (archive_sha256 is null))
);

comment on table audit.dropped_partition is
    'The partitions that retention has dropped: which events they held, and where these are archived.';
comment on column audit.dropped_partition.name is 'The partition.';
comment on column audit.dropped_partition.begins is 'It held events from this time …';
comment on column audit.dropped_partition.ends is '… to before this one.';
comment on column audit.dropped_partition.events is 'How many.';
comment on column audit.dropped_partition.ids is 'Their ids.';
comment on column audit.dropped_partition.archive is 'The name of the archive''s file; null: it was dropped without.';
comment on column audit.dropped_partition.archive_sha256 is 'SHA-256 of that file.';
comment on column audit.dropped_partition.dropped_by is 'The role that dropped it.';
comment on column audit.dropped_partition.dropped_at is 'When.';
comment on column audit.dropped_partition.event_id is 'The event audit.partition_dropped, which has the SHA-256 of ids::text.';
