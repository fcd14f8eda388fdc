-- Erasure and seals: the commitments of replaced fields are kept, and the salts that could confirm a guess are destroyed.

create or replace function audit_internal.is_sealed(event audit.event)
returns boolean
language sql
stable
as $$
    select event.id <= head.epoch
        or pg_catalog.pg_visible_in_snapshot(event.xid, head.from_snapshot)
        or (head.to_snapshot is not null and event.id <= head.above_id and pg_catalog.pg_visible_in_snapshot(event.xid, head.to_snapshot))
    from audit.seal_head as head
$$;

comment on function audit_internal.is_sealed(audit.event) is 'Whether an event is sealed.';

create or replace function audit_internal.store_commitments(was audit.event, becomes audit.event, p_erasure_id bigint)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    seal audit.seal := audit_internal.find_seal(was.id);
    secret bytea := (select seal_leaves.secret from audit.seal_leaves where number = seal.number);
    replaced record;
begin
    for replaced in
        select old.part, old.commitment, audit_internal.commitment(null, new.content) as redacted
        from audit_internal.sealed_parts(was, secret, seal.personal) as old
        join audit_internal.parts(becomes) as new using (part)
        where old.content <> new.content
    loop
        -- A field that was erased before keeps its first commitment.
        update audit.erased_part
        set superseded = true
        where event_id = was.id and part = replaced.part and not superseded;
        insert into audit.erased_part (event_id, part, erasure_id, commitment, redacted)
        values (was.id, replaced.part, p_erasure_id, replaced.commitment, replaced.redacted);
    end loop;
end
$$;

comment on function audit_internal.store_commitments(audit.event, audit.event, bigint) is
    'Stores the commitments of the fields of a sealed event that are replaced, and digests of what replaces them.';

create or replace function audit_internal.node_fields(event audit.event)
returns table (part text, content text, salt bytea)
language sql
stable
as $$
    -- With each salt that the person ever had at the node, or none.
    with sealed as (
        select node_seal.personal, audit_internal.leaf_salt(node_seal_leaves.secret, event.node_id) as salt
        from audit.node_seal
        join audit.node_seal_leaves using (node, number)
        where node_seal.node = event.node
            and event.node_id between node_seal.first_id and node_seal.last_id
            and event.node_id = any (node_seal_leaves.ids)
        order by node_seal.arrival
        limit 1
    ),
    person as (
        select node_salt.salt
        from audit.node_salt
        join sealed on event.resource_type = any (sealed.personal)
        where (node_salt.node, node_salt.kind, node_salt.type, node_salt.id) = (event.node, 'resource', event.resource_type, event.resource_id)
        union all
        select null
    ),
    actor as (
        select node_salt.salt
        from audit.node_salt
        where (node_salt.node, node_salt.kind, node_salt.type, node_salt.id) = (event.node, 'actor', event.actor_type, event.actor_id)
        union all
        select null
    )
    select parts.part, parts.content, case when sealed.salt is not null then audit_internal.part_salt(parts.part, sealed.salt, actor.salt, person.salt) end
    from audit_internal.parts(event) as parts
    left join sealed on true
    left join actor on parts.part = 'actor'
    left join person on parts.part <> 'actor'
$$;

comment on function audit_internal.node_fields(audit.event) is
    'Returns the fields of a node''s event that its leaf commits to, once for each salt that may be theirs; salt null: its seal has not arrived.';

create or replace function audit_internal.store_node_commitments(was audit.event, becomes audit.event)
returns void
language sql
as $$
    with replaced as (
        select old.part, old.salt, audit_internal.commitment(old.salt, old.content) as commitment
        from audit_internal.node_fields(was) as old
        join audit_internal.parts(becomes) as new using (part)
        where old.content <> new.content
    ),
    -- The kept salt of a field that is now replaced.
    closed as (
        update audit.node_erased_part as known
        set salt = null
        from replaced
        where (known.node, known.event_id, known.part) = (was.node, was.node_id, replaced.part) and known.here
    )
    insert into audit.node_erased_part (node, event_id, part, here, commitment)
    -- (A person who came back has several salts: each commitment is kept, and one of them is in the leaf.)
    select was.node, was.node_id, part, true, case when salt is not null then commitment end
    from replaced
    where not exists (
        select
        from audit.node_erased_part as known
        where (known.node, known.event_id, known.part) = (was.node, was.node_id, replaced.part) and known.here
    )
$$;

comment on function audit_internal.store_node_commitments(audit.event, audit.event) is
    'Stores the node''s commitments of the fields of its event that are replaced, if its seal has arrived.';

create or replace function audit_internal.destroy_salts(p_erasure_id bigint, ids text[])
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    salted audit.salt;
begin
    for salted in
        select distinct salt.*
        from audit.erased_part
        join audit.event on event.id = erased_part.event_id
        join audit.salt on (salt.kind, salt.type, salt.id) = ('resource', event.resource_type, event.resource_id)
        where erased_part.erasure_id = p_erasure_id and erased_part.part <> 'actor'
    loop
        -- Fields that are not replaced keep salts of their own, and can still be verified.
        insert into audit.erased_part (event_id, part, erasure_id, commitment, redacted, salt)
        select other.id, held.part, p_erasure_id, held.commitment, audit_internal.commitment(null, held.content), held.salt
        from audit.event as other
        cross join lateral audit_internal.find_seal(other.id) as seal
        join audit.seal_leaves on seal_leaves.number = seal.number
        cross join lateral audit_internal.sealed_parts(other, seal_leaves.secret, seal.personal) as held
        where (other.resource_type, other.resource_id) = (salted.type, salted.id)
            and other.resource_type = any (seal.personal)
            and held.part <> 'actor'
            and not exists (
                select from audit.erased_part as known where (known.event_id, known.part) = (other.id, held.part) and not known.superseded
            );
        delete from audit.salt where (kind, type, id) = (salted.kind, salted.type, salted.id);
    end loop;
    delete from audit.salt where kind = 'actor' and id = any (ids);
end
$$;

comment on function audit_internal.destroy_salts(bigint, text[]) is
    'Destroys the salts that could confirm a guess at what was erased.';

create or replace function audit_internal.destroy_node_salts(p_erasure_id bigint, own text[], ids text[])
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    resources text[] := own || array(
        select distinct audit_internal.resource_key(event)
        from audit.erased_part
        join audit.event on event.id = erased_part.event_id
        where erased_part.erasure_id = p_erasure_id and erased_part.part <> 'actor' and event.node is not null
    );
begin
    -- As in audit_internal.destroy_salts(): fields that are not replaced keep salts of their own.
    insert into audit.node_erased_part (node, event_id, part, here, commitment, salt)
    select sibling.node, sibling.node_id, field.part, true, audit_internal.commitment(field.salt, field.content), field.salt
    from audit.event as sibling
    cross join lateral audit_internal.node_fields(sibling) as field
    where sibling.node is not null
        and audit_internal.resource_key(sibling) = any (resources)
        and field.part <> 'actor'
        and field.salt is not null
        and not exists (
            select
            from audit.node_erased_part as known
            where (known.node, known.event_id, known.part) = (sibling.node, sibling.node_id, field.part) and known.here
        );
    with destroyed as (
        delete from audit.node_salt
        where (kind = 'resource' and type || ':' || id = any (resources)) or (kind = 'actor' and id = any (ids))
        returning salt
    )
    insert into audit.node_dead_salt (digest)
    select distinct sha256(salt)
    from destroyed
    on conflict do nothing;
end
$$;

comment on function audit_internal.destroy_node_salts(bigint, text[], text[]) is
    'Destroys the nodes'' salts that could confirm a guess at what was erased. own: keys (audit_internal.resource_key()) of the person''s own resources.';

create or replace function audit_internal.erasure_digest(p_erasure_id bigint)
returns bytea
language sql
stable
as $$
    select pg_catalog.sha256(
        coalesce(
            pg_catalog.string_agg(
                pg_catalog.int8send(event_id) || pg_catalog.convert_to(part, 'UTF8') || commitment || redacted, '' order by event_id, part collate "C"
            ),
            ''
        )
    )
    from audit.erased_part
    where erasure_id = p_erasure_id
$$;

comment on function audit_internal.erasure_digest(bigint) is
    'Returns the SHA-256 over what an erasure replaced, in the order of event ids and parts (bytewise): id (8 bytes, big-endian), name of the part, commitment, digest of what replaced it.';
