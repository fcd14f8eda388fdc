-- The filter of a destination: which events it receives.

create or replace function audit_internal.matches_destination(event audit.event, destination audit.destination)
returns boolean
language sql
immutable
as $$
    select case
        when event.action operator(pg_catalog.=) 'audit.sealed' then
            destination.seals and (destination.since is null or event.occurred_at operator(pg_catalog.>=) destination.since)
        -- The destination is always sent its own removal.
        when event.action operator(pg_catalog.=) 'audit.destination_removed'
            and event.resource_id operator(pg_catalog.=) destination.id::pg_catalog.text then true
        else (destination.since is null or event.occurred_at operator(pg_catalog.>=) destination.since)
            and audit_internal.matches_names(event, destination.categories, destination.actions, destination.orgs)
    end
$$;

comment on function audit_internal.matches_destination(audit.event, audit.destination) is
    'Whether a destination receives an event: the event passes its filters, is a seal that it asks for, or is its own removal.';

create or replace function audit_internal.matches_destination_live(event audit.event, destination audit.destination)
returns boolean
language sql
immutable
as $$
    select event.imported_from is null and audit_internal.matches_destination(event, destination)
$$;

comment on function audit_internal.matches_destination_live(audit.event, audit.destination) is
    'Whether a destination receives an event when it is recorded: audit_internal.matches_destination(), and it was not imported. Imported events are sent only by a replay.';
