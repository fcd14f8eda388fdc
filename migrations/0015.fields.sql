-- depends: 0014.recorder

set local role audit_owner;

-- A leaf commits to each field by itself, under a salt of its own: an erasure excuses what it replaced and nothing else, and
-- nobody can guess the leaf of an event that they may not read.

alter table audit.seal add column months text[] not null default '{}';
alter table audit.seal alter column months drop default;
comment on column audit.seal.months is
    'How many of its events occurred in each month (UTC): `2026-11 4711`. A removal of a month has to fit.';
alter table audit.node_seal add column months text[] not null default '{}';
alter table audit.node_seal alter column months drop default;
comment on column audit.node_seal.months is
    'How many of its events occurred in each month (UTC): `2026-11 4711`. A removal of a month has to fit.';

alter table audit.seal_leaves
    add column secret bytea,
    add constraint secret_is_long_enough check (length(secret) = 32);
comment on column audit.seal_leaves.secret is
    '32 random bytes, of which the salt of each leaf is made: a proof gives away its own alone.';
alter table audit.node_seal_leaves add column secret bytea;
comment on column audit.node_seal_leaves.secret is '32 random bytes, of which the salt of each leaf is made.';

alter table audit.erased_part
    drop constraint part_is_known,
    add constraint part_is_known check (part ~ '^(actor$|label$|before\.|after\.)'),
    add column salt bytea;
comment on table audit.erased_part is
    'What an erased field of an event was sealed as; and the salts of the fields beside it, whose resource has lost its own.';
comment on column audit.erased_part.part is
    '`actor`: id, label, address and user agent; `label`: resource_label; `before.NAME`, `after.NAME`: a member of a row.';
comment on column audit.erased_part.redacted is 'SHA-256 of the field as this erasure left it: a later change of it shows too.';
comment on column audit.erased_part.salt is
    'The salt of a field that the erasure left as it was, so that it can still be verified; null: the field was replaced.';

alter table audit.node_erased_part add column salt bytea;
comment on column audit.node_erased_part.part is '`actor`, `label`, `before.NAME` or `after.NAME`, as in audit.erased_part.';
comment on column audit.node_erased_part.salt is
    'The salt of a field that the erasure left as it was, so that it can still be verified; null: the field was replaced.';

-- What `pgtrail verify` does by itself now: whatever lives in the database could be made to vouch for itself.
drop function if exists audit.check_event(audit.event);
drop function if exists audit.check_seal(bigint);
drop function if exists audit.check_log();
drop function if exists audit.check_node_seal(text, bigint);
drop function if exists audit.check_node(text);
drop function if exists audit.uncovered_node_events(text);
drop function if exists audit.node_leaves(text, audit.seal, audit.seal_leaves);
drop function if exists audit.differing_node_leaves(text, audit.seal_leaves, audit.seal_leaves);
drop function if exists audit.first_seal(text, bigint);
drop function if exists audit.first_leaves(text, audit.seal);
drop function if exists audit.wrong_in_chain(audit.seal, audit.seal);
drop function if exists audit.follows(audit.seal, audit.seal);
drop function if exists audit.differing_leaves(audit.seal_leaves, audit.seal_leaves, int8multirange);
drop function if exists audit.dropped_ids();
drop function if exists audit.misfiled_events(audit.seal);
drop function if exists audit.misdated_events(audit.seal, text);
drop function if exists audit.changed_since_erased(audit.seal);
drop function if exists audit.event_leaves(audit.seal);
drop function if exists audit.sealed_events(audit.seal, text);
drop function if exists audit.next_epoch(audit.seal, text);
drop function if exists audit.as_recorded(audit.event);
drop function if exists audit.event_text(audit.event, bytea, bytea);
drop function if exists audit.rows_part(audit.event);
drop function if exists audit.merkle_leaf(text);
drop function if exists audit.salt_of(audit.event, text);
drop function if exists audit.keep_commitment(audit.event, text, text, text, bigint);
drop function if exists audit.keep_node_commitment(audit.event, text);
drop function if exists audit.node_commitments(text, audit.event, text, text[]);
drop function if exists audit.archived_parts(text);
