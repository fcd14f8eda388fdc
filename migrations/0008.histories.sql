-- depends: 0007.page

set local role audit_owner;

-- One resource's history and one actor's activity in the order of time, whether it has three events or a million. By a
-- hash of the id, since an id may be longer than an entry of a B-tree: audit.passes() compares both.
drop index audit.event_resource;
drop index audit.event_actor;
create index event_resource on audit.event (hashtextextended(resource_id, 0), occurred_at, id);
create index event_actor on audit.event (hashtextextended(actor_id, 0), occurred_at, id);
