-- Proofs that an event is in a seal, to be checked without the log; and a quick check of one event, for the page.

create or replace function audit_internal.sealed_parts(event audit.event, secret bytea, personal text[])
returns table (number bigint, side text, part text, content text, salt bytea, erased boolean, commitment bytea)
language sql
stable
as $$
    with blinded as materialized (
        select
            audit_internal.leaf_salt(secret, event.id) as salt,
            (select salt from audit.salt where (kind, type, id) = ('actor', event.actor_type, event.actor_id)) as actor,
            (
                select salt
                from audit.salt
                where (kind, type, id) = ('resource', event.resource_type, event.resource_id) and event.resource_type = any (personal)
            ) as person
    ),
    salted as (
        select parts.*, audit_internal.part_salt(parts.part, blinded.salt, blinded.actor, blinded.person) as salt
        from blinded
        cross join lateral audit_internal.parts(event) with ordinality as parts (side, part, content, number)
    )
    select
        salted.number,
        salted.side,
        salted.part,
        salted.content,
        coalesce(known.salt, salted.salt),
        known.event_id is not null and known.salt is null,
        coalesce(known.commitment, audit_internal.commitment(salted.salt, salted.content))
    from salted
    left join audit.erased_part as known
        on (known.event_id, known.part) = (event.id, salted.part) and not known.superseded
$$;

comment on function audit_internal.sealed_parts(audit.event, bytea, text[]) is
    'audit_internal.parts() of a sealed event, each with its salt and its commitment in the leaf; erased: its text is no longer what was sealed. secret, personal: of its seal.';

create or replace function audit_internal.sealed_text(event audit.event, secret bytea, personal text[])
returns text
language sql
stable
as $$
    select audit_internal.event_text(
        event,
        pg_catalog.string_agg(held.commitment, '' order by held.number) filter (where held.side = 'actor'),
        pg_catalog.string_agg(held.commitment, '' order by held.number) filter (where held.side = 'label'),
        pg_catalog.string_agg(held.commitment, '' order by held.number) filter (where held.side = 'before'),
        pg_catalog.string_agg(held.commitment, '' order by held.number) filter (where held.side = 'after')
    )
    from audit_internal.sealed_parts(event, secret, personal) as held
$$;

comment on function audit_internal.sealed_text(audit.event, bytea, text[]) is
    'Returns the canonical text of a sealed event, erased or not. secret, personal: of its seal.';

create or replace function audit_internal.merkle_path(leaves bytea, leaf_index integer)
returns bytea[]
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
declare
    level bytea := leaves;
    node_index integer := leaf_index;
    sibling bytea;
    path bytea[] := '{}';
begin
    while length(level) > 32
    loop
        sibling := substr(level, (node_index # 1) * 32 + 1, 32);
        -- A node without a sibling is promoted as it is.
        if sibling <> '' then
            path := path || sibling;
        end if;
        level := audit_internal.merkle_parents(level);
        node_index := node_index / 2;
    end loop;
    return path;
end
$$;

comment on function audit_internal.merkle_path(bytea, integer) is
    'Returns the audit path (RFC 6962, 2.1.1) of the leaf at an index from 0, from the leaf up. leaves: as in audit_internal.merkle_root().';

create or replace function audit_internal.check_is_stored(event audit.event)
returns void
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
    -- A caller who has the whole event may read it: definers disclose nothing about any other.
    if event is distinct from (select stored from audit.event as stored where stored.id = event.id) then
        raise exception using errcode = 'PT002', message = 'this is not the event as it is recorded';
    end if;
end
$$;

comment on function audit_internal.check_is_stored(audit.event) is 'Raises PT002 unless the event is the one in the log.';

create or replace function audit.prove(p_event_id bigint)
returns jsonb
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
    -- Under the caller's row-level security: a role that may not read the event gets no proof of it.
    event audit.event := (select event from audit.event where id = p_event_id);
begin
    if event.id is null then
        raise exception using
            errcode = 'PT002',
            message = format('there is no event %s that you may read', p_event_id),
            hint = 'pgtrail log shows the ids.';
    end if;
    return audit_internal.proof(event);
end
$$;

comment on function audit.prove(bigint) is
    'Returns a proof that an event is in the chain of seals: the event, its salts, the path to the root, and the seal. It can be checked without a database (pgtrail proof check; docs/security/seals.md). PT002.';

create or replace function audit_internal.proof(event audit.event)
returns jsonb
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    seal audit.seal;
    sealed audit.seal_leaves;
    leaf_index integer;
begin
    perform audit_internal.check_is_stored(event);
    seal := audit_internal.find_seal(event.id);
    if seal.number is null then
        raise exception using
            errcode = 'PT020',
            message = format('event %s is not sealed yet', event.id),
            hint = 'The worker seals every few seconds; pgtrail seal does it now.';
    end if;
    select * into sealed from audit.seal_leaves where number = seal.number;
    leaf_index := array_position(sealed.ids, event.id) - 1;
    return jsonb_build_object(
        'proof', 'pgtrail proof 1',
        'event', audit_internal.sealed_text(event, sealed.secret, seal.personal),
        -- (It blinds this leaf only: it can't confirm a guess at another.)
        'salt', encode(audit_internal.leaf_salt(sealed.secret, event.id), 'hex'),
        -- Erased: the commitment is in the event's text, and can no longer be opened.
        'fields', (
            select jsonb_agg(
                case
                    when held.erased then jsonb_build_object('part', held.part)
                    else jsonb_build_object('part', held.part, 'text', held.content, 'salt', encode(held.salt, 'hex'))
                end
                order by held.side, held.number
            )
            from audit_internal.sealed_parts(event, sealed.secret, seal.personal) as held
        ),
        'leaf_index', leaf_index,
        'path', array(select encode(node, 'hex') from unnest(audit_internal.merkle_path(sealed.leaves, leaf_index)) with ordinality as step (node, number) order by number),
        'seal', audit_internal.seal_text(seal),
        'seal_hash', encode(seal.hash, 'hex')
    );
end
$$;

comment on function audit_internal.proof(audit.event) is 'audit.prove() for an event that its caller may read. PT020.';

create or replace function audit_internal.event_seal(event audit.event)
returns table (number bigint, sealed_at timestamptz, hash text)
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    seal audit.seal := audit_internal.find_seal(event.id);
begin
    perform audit_internal.check_is_stored(event);
    if seal.number is not null then
        return query values (seal.number, seal.sealed_at, encode(seal.hash, 'hex'));
    end if;
end
$$;

comment on function audit_internal.event_seal(audit.event) is 'Returns the seal that an event is in; no row if it is not sealed yet. PT002.';

create or replace function audit_internal.check_event(event audit.event)
returns setof text
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    seal audit.seal;
    sealed audit.seal_leaves;
begin
    perform audit_internal.check_is_stored(event);
    seal := audit_internal.find_seal(event.id);
    if seal.number is null then
        return;
    end if;
    select * into sealed from audit.seal_leaves where number = seal.number;
    if seal.hash <> audit_internal.seal_hash(seal) or audit_internal.merkle_root(sealed.leaves) <> seal.root then
        return next 'its seal was changed';
    elsif substr(sealed.leaves, (array_position(sealed.ids, event.id) - 1) * 32 + 1, 32)
        <> audit_internal.leaf(audit_internal.leaf_salt(sealed.secret, event.id), audit_internal.sealed_text(event, sealed.secret, seal.personal))
        or event.resource_hash is distinct from hashtextextended(event.resource_id, 0)
    then
        return next 'it was changed';
    end if;
end
$$;

comment on function audit_internal.check_event(audit.event) is
    'A quick check of a sealed event, for the page: whether it matches its leaf, and the leaf its seal. No rows: they match. Functions in the database can be replaced, so `pgtrail verify` uses none of them. PT002.';
