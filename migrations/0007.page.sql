-- depends: 0006.trust

-- Roles belong to the whole cluster: another database of it may have made this one already.
do $$
begin
    create role audit_org_reader nologin;
exception
    when duplicate_object or unique_violation then
        null;
end
$$;

-- Who sees every organization can confine itself to one.
do $$
declare
    role_name text;
begin
    foreach role_name in array array['audit_auditor', 'audit_admin']
    loop
        if not pg_has_role(role_name, 'audit_org_reader', 'member') then
            execute format('grant audit_org_reader to %I', role_name);
        end if;
    end loop;
end
$$;

set local role audit_owner;

drop function if exists audit.record(text, text, text, text, jsonb, jsonb);

create type audit.filter as (
    categories text[],
    actions text[],
    orgs text[],
    actors text[],
    since timestamptz,
    until timestamptz,
    resources text[],
    actor_type text,
    actor_id text,
    resource_type text,
    resource_id text,
    words text,
    before_time timestamptz,
    before_id bigint,
    from_time timestamptz,
    from_id bigint
);

comment on type audit.filter is
    'What is looked for; a null field lets all pass: categories and organizations by name; actions, actors and resources (id or label) by patterns; since ≤ occurred_at < until; one actor or one resource by type and id; a text that stands anywhere in the event; before one event, and from another one on, in the order of (occurred_at, id). audit.filter() makes one of JSON, audit.passes() applies it.';

-- With the category in it, events are counted without a look at their rows.
drop index audit.event_time;
drop index audit.event_org_time;
create index event_time on audit.event (occurred_at, id) include (category);
create index event_org_time on audit.event (org_id, occurred_at, id) include (category);
-- The newest of a category or an action, however rare.
create index event_action_time on audit.event (category, action, occurred_at, id);
-- One resource's history, one actor's activity. Hashed, since an id may be longer than an entry of a B-tree.
create index event_resource on audit.event using hash (resource_id);
create index event_actor on audit.event using hash (actor_id);
