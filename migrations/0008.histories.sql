-- depends: 0007.page

set local role audit_owner;

-- One resource's history and one actor's activity in the order of time, whether it has three events or a million. An id
-- may be longer than an entry of a B-tree, so a hash stands for it; and as a column, not as an expression: under row-level
-- security an index serves only comparisons that leak nothing, which that of a bigint is known to be. (Each partition is
-- written anew once.)
alter table audit.event
    add column resource_hash bigint generated always as (hashtextextended(resource_id, 0)) stored,
    add column actor_hash bigint generated always as (hashtextextended(actor_id, 0)) stored;

comment on column audit.event.resource_hash is 'Of resource_id: what the index of its history begins with.';
comment on column audit.event.actor_hash is 'Of actor_id: what the index of its activity begins with.';

drop index audit.event_resource;
drop index audit.event_actor;
create index event_resource on audit.event (resource_hash, occurred_at, id);
create index event_actor on audit.event (actor_hash, occurred_at, id);
