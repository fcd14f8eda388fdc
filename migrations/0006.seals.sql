-- depends: 0005.delivery

-- Seals of the log, and the records of erasures.
set local role audit_owner;

create table audit.seal (
    number bigint primary key,
    sealed_at timestamptz not null default clock_timestamp(),
    system_identifier bigint not null,
    from_snapshot pg_snapshot not null,
    from_time timestamptz,
    from_xid xid8,
    from_id bigint not null,
    to_snapshot pg_snapshot not null,
    to_time timestamptz not null,
    epoch bigint not null,
    above_id bigint not null,
    up_to_id bigint,
    events bigint not null,
    first_id bigint not null,
    last_id bigint not null,
    months text[] not null,
    personal text[] not null,
    root bytea not null,
    previous bytea not null,
    hash bytea not null,
    constraint digests_are_sha256 check (length(root) = 32 and length(previous) = 32 and length(hash) = 32),
    constraint ids_lie_within check (
        events > 0 and first_id <= last_id and above_id >= epoch and first_id > above_id
        and (up_to_id is null or last_id <= up_to_id)
    )
);

comment on table audit.seal is
    'One row a seal: the Merkle root over a batch of events, chained to the seal before. Written by audit.seal(); docs/security/seals.md says how each digest is computed.';
comment on column audit.seal.number is 'Its place in the chain, from 1, without gaps.';
comment on column audit.seal.sealed_at is 'When it was made.';
comment on column audit.seal.system_identifier is 'The cluster that made it.';
comment on column audit.seal.from_snapshot is 'The batch: events that are not visible in this snapshot …';
comment on column audit.seal.from_time is 'When the transaction that took it had begun; null: before everything.';
comment on column audit.seal.from_xid is 'That transaction: whatever has a higher id was recorded after from_time.';
comment on column audit.seal.from_id is 'The highest event id that had been sealed by then.';
comment on column audit.seal.to_snapshot is '… and visible in this one.';
comment on column audit.seal.to_time is 'A time after that was taken.';
comment on column audit.seal.epoch is 'Events to this id were recorded in an earlier cluster, whose transaction ids mean nothing here.';
comment on column audit.seal.above_id is 'Of the batch only events with a higher id: an earlier seal, or an earlier cluster, has the others.';
comment on column audit.seal.up_to_id is 'Of the batch only events to this id: the next seal has the rest; null: all.';
comment on column audit.seal.events is 'How many events it seals.';
comment on column audit.seal.first_id is 'The lowest of their ids.';
comment on column audit.seal.last_id is 'The highest of their ids.';
comment on column audit.seal.months is 'How many of its events occurred in each month (UTC): `2026-11 4711`. The removal of a month has to match.';
comment on column audit.seal.personal is 'Resource types whose rows are about a person: these rows are committed to with a salt of the resource.';
comment on column audit.seal.root is 'SHA-256: the root of the Merkle tree (RFC 6962) over the events'' leaves in the order of their ids.';
comment on column audit.seal.previous is 'The hash of the seal before; of the first, 32 zero bytes.';
comment on column audit.seal.hash is 'SHA-256 over all of the above but the leaves.';

create table audit.seal_leaves (
    number bigint primary key,
    ids bigint[] not null,
    leaves bytea not null,
    secret bytea,
    constraint a_leaf_an_event check (length(leaves) = 32 * cardinality(ids)),
    constraint secret_is_long_enough check (length(secret) = 32)
);
-- Digests do not compress.
alter table audit.seal_leaves alter column leaves set storage external;

comment on table audit.seal_leaves is
    'The leaves of each seal''s tree: they identify an event that does not match, and stay when retention drops the events.';
comment on column audit.seal_leaves.number is 'The seal.';
comment on column audit.seal_leaves.ids is 'The ids of its events, ascending.';
comment on column audit.seal_leaves.leaves is 'Their leaf hashes (SHA-256, RFC 6962), 32 bytes each, in the same order.';
comment on column audit.seal_leaves.secret is '32 random bytes, from which the salt of each leaf is derived: a proof discloses its own leaf''s only.';

create table audit.seal_head (
    only_row boolean default true primary key,
    number bigint not null default 0,
    hash bytea not null default decode(repeat('00', 32), 'hex'),
    system_identifier bigint not null,
    from_snapshot pg_snapshot not null default '1:1:',
    from_time timestamptz,
    from_xid xid8,
    from_id bigint not null default 0,
    to_snapshot pg_snapshot,
    to_time timestamptz,
    next_time timestamptz,
    next_xid xid8,
    epoch bigint not null default 0,
    above_id bigint not null default 0,
    constraint one_row_only check (only_row),
    constraint batch_is_whole check (num_nulls(to_snapshot, to_time, next_time, next_xid) in (0, 4))
);

insert into audit.seal_head (system_identifier) select system_identifier from pg_control_system();

comment on table audit.seal_head is
    'Where the next seal begins: one row, which is also the lock that makes one sealer work at a time.';
comment on column audit.seal_head.only_row is 'Always true: holds the table to one row.';
comment on column audit.seal_head.number is 'The last seal; 0: there is none.';
comment on column audit.seal_head.hash is 'Its hash.';
comment on column audit.seal_head.system_identifier is 'The cluster that made it.';
comment on column audit.seal_head.from_snapshot is 'Where the batch in progress, or the next one, begins.';
comment on column audit.seal_head.from_time is 'When the transaction that took it had begun; null: before everything.';
comment on column audit.seal_head.from_xid is 'That transaction.';
comment on column audit.seal_head.from_id is 'The highest event id that had been sealed by then.';
comment on column audit.seal_head.to_snapshot is 'The end of a batch of which a part is sealed; null: none is in progress.';
comment on column audit.seal_head.to_time is 'A time after that was taken.';
comment on column audit.seal_head.next_time is 'The next batch''s from_time.';
comment on column audit.seal_head.next_xid is 'The next batch''s from_xid.';
comment on column audit.seal_head.epoch is 'Events to this id were recorded in an earlier cluster.';
comment on column audit.seal_head.above_id is 'Of the batch in progress events to this id are sealed.';

create table audit.salt (
    kind text not null,
    type text not null,
    id text not null,
    salt bytea not null,
    -- By hash: an application may claim an id that is longer than an entry of a B-tree.
    constraint one_salt_each exclude using hash ((array[kind, type, id]) with =),
    constraint kind_is_known check (kind in ('actor', 'resource')),
    constraint salt_is_long_enough check (length(salt) = 32)
);
-- A publication of all tables refuses updates and deletes of a table without a replica identity.
alter table audit.salt replica identity full;

create index salt_id on audit.salt using hash (id);

comment on table audit.salt is
    'The salts that blind the personal fields in the leaves, so that a guess at a name can''t be confirmed. audit.erase_actor() destroys a person''s.';
comment on column audit.salt.kind is '`actor`: blinds who did it; `resource`: blinds the rows of a resource that is about a person.';
comment on column audit.salt.type is 'The actor''s or the resource''s type.';
comment on column audit.salt.id is 'Its id.';
comment on column audit.salt.salt is '32 random bytes.';

-- Erasure -----------------------------------------------------------------------------------------------------------

create table audit.erasure (
    id bigint generated always as identity primary key,
    pseudonym text not null unique,
    reason text not null,
    erased_by name not null default session_user,
    erased_at timestamptz not null default clock_timestamp(),
    xid xid8 not null default pg_current_xact_id(),
    event_id bigint,
    constraint reason_is_given check (reason ~ '\S')
);

comment on table audit.erasure is
    'One row for each time that a person''s fields were replaced. Written by audit.erase_actor().';
comment on column audit.erasure.id is 'Identity.';
comment on column audit.erasure.pseudonym is 'What replaces the person''s fields.';
comment on column audit.erasure.reason is 'Why, as given.';
comment on column audit.erasure.erased_by is 'The role that did it.';
comment on column audit.erasure.erased_at is 'When.';
comment on column audit.erasure.xid is 'The transaction: only in it may events be changed, and in them only these fields.';
comment on column audit.erasure.event_id is 'The event audit.actor_erased, whose `digest` covers the rows of audit.erased_part.';

create table audit.erased_part (
    event_id bigint not null,
    part text not null,
    erasure_id bigint not null references audit.erasure (id),
    commitment bytea not null,
    redacted bytea not null,
    superseded boolean not null default false,
    salt bytea,
    primary key (event_id, part, erasure_id),
    constraint digests_are_sha256 check (length(commitment) = 32 and length(redacted) = 32),
    constraint part_is_known check (part ~ '^(actor$|label$|before\.|after\.)')
);

create unique index erased_part_in_force on audit.erased_part (event_id, part) where not superseded;

comment on table audit.erased_part is
    'The commitments of erased fields; and the salts of the other fields of resources whose own salt was destroyed.';
comment on column audit.erased_part.event_id is 'The event.';
comment on column audit.erased_part.part is '`actor`: id, label, address and user agent; `label`: resource_label; `before.NAME`, `after.NAME`: a member of a row.';
comment on column audit.erased_part.erasure_id is 'The erasure.';
comment on column audit.erased_part.commitment is 'The salted commitment (SHA-256) in the leaf.';
comment on column audit.erased_part.redacted is 'SHA-256 of the field as this erasure left it: a later change of it shows too.';
comment on column audit.erased_part.superseded is 'Whether a later erasure replaced the part again.';
comment on column audit.erased_part.salt is 'The salt of a field that the erasure left as it was, so that it can still be verified; null: the field was replaced.';
