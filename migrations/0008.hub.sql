-- depends: 0007.retention

-- The databases whose events a hub gathers, and what it received of each.
set local role audit_owner;

create table audit.node (
    name text primary key,
    subscription oid unique,
    system_identifier bigint not null,
    timeline integer not null,
    copies_above bigint not null,
    copies_to bigint not null,
    added_at timestamptz not null default clock_timestamp(),
    removed_at timestamptz,
    broken_seal bigint,
    hub_system_identifier bigint not null,
    hub_timeline integer not null,
    constraint name_is_short check (name ~ '^[a-z][a-z0-9_]{0,29}$'),
    constraint removed_has_no_subscription check ((subscription is null) = (removed_at is not null))
);

comment on table audit.node is
    'The databases whose events this hub gathers. Written by audit.add_node() and audit.remove_node().';
comment on column audit.node.name is 'The name in filters and commands, and the first half of its events'' identity: lower-case letters, digits and underscores, 30 at most. Never changed, never used again for another database.';
comment on column audit.node.subscription is 'The oid of its subscription; null: it was removed, its events stay.';
comment on column audit.node.system_identifier is 'Its cluster when it was added.';
comment on column audit.node.timeline is 'That cluster''s timeline then: a promotion or a restore begins another.';
comment on column audit.node.copies_above is 'The offset of the ids of events copied at first: their id here is this much above their id there, which keeps their order.';
comment on column audit.node.copies_to is 'The last id there with that offset; later events take the next id here.';
comment on column audit.node.added_at is 'When it was added, the last time.';
comment on column audit.node.removed_at is 'When it was removed; null: it was not.';
comment on column audit.node.broken_seal is 'The first seal received that does not follow those before it: the node''s history was rewritten, or restored from a backup. Null: none.';
comment on column audit.node.hub_system_identifier is 'The cluster that this hub was in when it was added.';
comment on column audit.node.hub_timeline is 'And its timeline: a hub that was restored or promoted may have lost what it had confirmed.';

create table audit.node_seal (
    node text not null references audit.node (name),
    received_at timestamptz not null default clock_timestamp(),
    arrival bigint generated always as identity primary key,
    like audit.seal including comments
);

-- Not unique: a node that seals a batch again has rewritten its history, and both are kept to show it.
create index node_seal_number on audit.node_seal (node, number);

comment on table audit.node_seal is
    'The seals of each node, as they arrived, in the columns of audit.seal. The first to arrive counts.';
comment on column audit.node_seal.node is 'The node that made it.';
comment on column audit.node_seal.received_at is 'When it arrived.';
comment on column audit.node_seal.arrival is 'Identity, and the order of arrival.';

create table audit.node_seal_leaves (
    node text not null references audit.node (name),
    arrival bigint generated always as identity primary key,
    number bigint not null,
    ids bigint[] not null,
    leaves bytea not null,
    secret bytea
);
alter table audit.node_seal_leaves alter column leaves set storage external;

create index node_seal_leaves_number on audit.node_seal_leaves (node, number);

comment on table audit.node_seal_leaves is
    'The leaves of each node''s seals, as they arrived.';
comment on column audit.node_seal_leaves.node is 'The node.';
comment on column audit.node_seal_leaves.arrival is 'Identity, and the order of arrival.';
comment on column audit.node_seal_leaves.number is 'The seal.';
comment on column audit.node_seal_leaves.ids is 'The ids of its events there, ascending.';
comment on column audit.node_seal_leaves.leaves is 'Their leaf hashes (SHA-256, RFC 6962), 32 bytes each, in the same order.';
comment on column audit.node_seal_leaves.secret is '32 random bytes, from which the salt of each leaf is derived.';

create table audit.node_salt (
    node text not null references audit.node (name),
    kind text not null,
    type text not null,
    id text not null,
    salt bytea not null
);
alter table audit.node_salt replica identity full;

create index node_salt_id on audit.node_salt using hash (id);

comment on table audit.node_salt is
    'The salts of each node, each that a person ever had. audit.erase_actor() destroys a person''s here too.';
comment on column audit.node_salt.node is 'The node.';
comment on column audit.node_salt.kind is '`actor` or `resource`, as in audit.salt.';
comment on column audit.node_salt.type is 'The actor''s or the resource''s type.';
comment on column audit.node_salt.id is 'Its id.';
comment on column audit.node_salt.salt is '32 random bytes.';

create table audit.node_dead_salt (
    digest bytea primary key
);

comment on table audit.node_dead_salt is
    'Salts that were destroyed here, and are not received again if a node is copied again.';
comment on column audit.node_dead_salt.digest is 'SHA-256 of the salt, which identifies nobody.';

create table audit.node_copy (
    node text not null references audit.node (name),
    xid xid8 not null,
    primary key (node, xid)
);

comment on table audit.node_copy is
    'The transactions in which events were copied from a node, rather than streamed as they were recorded.';
comment on column audit.node_copy.node is 'The node.';
comment on column audit.node_copy.xid is 'The transaction here: events that it received may have been erased there before.';

create table audit.node_erased_part (
    node text not null references audit.node (name),
    event_id bigint not null,
    part text not null,
    here boolean not null,
    commitment bytea,
    redacted bytea,
    salt bytea,
    constraint what_the_node_says_is_whole check (here or (commitment is not null and redacted is not null))
);
alter table audit.node_erased_part replica identity full;

create index node_erased_part_event on audit.node_erased_part (node, event_id, part);

comment on table audit.node_erased_part is
    'The node''s commitments of erased parts of its events.';
comment on column audit.node_erased_part.node is 'The node.';
comment on column audit.node_erased_part.event_id is 'The event''s id there.';
comment on column audit.node_erased_part.part is '`actor`, `label`, `before.NAME` or `after.NAME`, as in audit.erased_part.';
comment on column audit.node_erased_part.here is 'Whether it was erased on this hub; else the node says so, which is believed of an event that was copied as that erasure left it, and of no other.';
comment on column audit.node_erased_part.commitment is 'The salted commitment (SHA-256) that stands in the node''s leaf; null: it was erased here before the node had sealed it, and only this hub''s own seals cover it.';
comment on column audit.node_erased_part.redacted is 'SHA-256 of the part as the node''s erasure left it; null: it was erased here.';
comment on column audit.node_erased_part.salt is 'The salt of a field that the erasure left as it was, so that it can still be verified; null: the field was replaced.';

create table audit.node_dropped (
    node text not null references audit.node (name),
    name text not null,
    here boolean not null,
    ids int8multirange not null,
    reported_by bigint,
    primary key (node, name, here)
);

comment on table audit.node_dropped is
    'The events of a node that retention has dropped, there before they were copied or here.';
comment on column audit.node_dropped.node is 'The node.';
comment on column audit.node_dropped.name is 'The partition that was dropped.';
comment on column audit.node_dropped.here is 'Whether it was this hub''s partition; else the node''s.';
comment on column audit.node_dropped.ids is 'The ids of its events at the node.';
comment on column audit.node_dropped.reported_by is 'The id at the node of the event of its removal; null: it was dropped here.';
