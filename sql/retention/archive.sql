-- What an archive holds besides the events, so that it can be verified by itself.

create or replace function audit_internal.archived_salts(p_partition text)
returns table (kind text, type text, id text, salt bytea)
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
set quote_all_identifiers = off
set standard_conforming_strings = on
as $$
begin
    if not exists (select from audit_internal.partition_bounds() where partition = p_partition::regclass) then
        raise exception using errcode = 'PT024', message = format('%s is not a month of the log', p_partition);
    end if;
    return query execute format(
        $query$
            with person as (
                select 'actor' as kind, event.actor_type as type, event.actor_id as id
                from %1$s as event
                union
                select 'resource', event.resource_type, event.resource_id
                from %1$s as event
            )
            select salt.*
            from audit.salt
            join person using (kind, type, id)
        $query$,
        p_partition::regclass
    );
end
$$;

comment on function audit_internal.archived_salts(text) is 'Returns the salts of a month''s persons, with which the commitments of its events can be verified. PT024.';

create or replace function audit_internal.archived_parts(p_partition text)
returns table (event_id bigint, part text, commitment bytea, salt bytea)
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
set quote_all_identifiers = off
set standard_conforming_strings = on
as $$
begin
    if not exists (select from audit_internal.partition_bounds() where partition = p_partition::regclass) then
        raise exception using errcode = 'PT024', message = format('%s is not a month of the log', p_partition);
    end if;
    return query execute format(
        $query$
            select erased_part.event_id, erased_part.part, erased_part.commitment, erased_part.salt
            from audit.erased_part
            join %s as event on event.id = erased_part.event_id
            where not erased_part.superseded
        $query$,
        p_partition::regclass
    );
end
$$;

comment on function audit_internal.archived_parts(text) is 'Returns the commitments of the erased fields of a month''s events. PT024.';
