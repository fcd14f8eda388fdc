-- What is hashed: the leaf of an event and the text of a seal, as docs/security/seals.md describes them. They are described in SQL nowhere else.
-- `pgtrail verify` calls no function of a database: it puts the bodies of these, as they stand in this file, into its own statements
-- (cli/pgtrail_cli/sql_functions.py), and canonical.py reads the names of the fields here. So everything is qualified, operators too.

create or replace function audit_internal.actor_part(event audit.event)
returns text
language sql
stable
parallel safe
as $$
    select pg_catalog.json_build_array(event.actor_id, event.actor_label, event.actor_ip, event.user_agent)::text
$$;

comment on function audit_internal.actor_part(audit.event) is
    'Returns the canonical text of the actor''s fields: a JSON array of actor_id, actor_label, actor_ip, user_agent.';

create or replace function audit_internal.member_part(name text, value jsonb)
returns text
language sql
stable
parallel safe
as $$
    select pg_catalog.concat(pg_catalog.to_json(name)::text, ': ', value::text)
$$;

comment on function audit_internal.member_part(text, jsonb) is 'Returns the canonical text of a member of a row.';

create or replace function audit_internal.row_members(content jsonb)
returns jsonb
language sql
stable
parallel safe
as $$
    select case
        -- (Null is none, and has no members.)
        when content is null or pg_catalog.jsonb_typeof(content) = 'object' then content
        else pg_catalog.jsonb_build_object('', content)
    end
$$;

comment on function audit_internal.row_members(jsonb) is 'Returns a row as an object, also if something else was stored.';

create or replace function audit_internal.parts(event audit.event)
returns table (side text, part text, content text)
language sql
stable
parallel safe
as $$
    select 'actor' as side, 'actor' as part, audit_internal.actor_part(event) as content
    union all
    select 'label', 'label', pg_catalog.to_json(event.resource_label)::text
    where event.resource_label is not null
    union all
    select 'before', pg_catalog.concat('before.', member.name), audit_internal.member_part(member.name, member.value)
    from pg_catalog.jsonb_each(audit_internal.row_members(event.before)) as member (name, value)
    union all
    select 'after', pg_catalog.concat('after.', member.name), audit_internal.member_part(member.name, member.value)
    from pg_catalog.jsonb_each(audit_internal.row_members(event.after)) as member (name, value)
    -- (Without an offset Postgres 18 fails to plan it over whole rows of a partitioned table.)
    offset 0
$$;

comment on function audit_internal.parts(audit.event) is
    'Returns the parts of an event that have commitments of their own, in order: `actor`, `label`, `before.NAME`, `after.NAME`, each with its text.';

create or replace function audit_internal.leaf_salt(secret bytea, event_id bigint)
returns bytea
language sql
immutable
parallel safe
as $$
    select pg_catalog.sha256(secret operator(pg_catalog.||) pg_catalog.int8send(event_id))
$$;

comment on function audit_internal.leaf_salt(bytea, bigint) is
    'Returns the salt of an event''s leaf: SHA-256 over the secret of its seal and its id (8 bytes, big-endian).';

create or replace function audit_internal.part_salt(part text, leaf_salt bytea, actor_salt bytea, person_salt bytea)
returns bytea
language sql
stable
parallel safe
as $$
    select case
        when part = 'actor' then coalesce(actor_salt, leaf_salt)
        when person_salt is null then leaf_salt
        else pg_catalog.sha256(
            person_salt operator(pg_catalog.||) leaf_salt operator(pg_catalog.||) pg_catalog.convert_to(part, 'UTF8')
        )
    end
$$;

comment on function audit_internal.part_salt(text, bytea, bytea, bytea) is
    'Returns the salt of a part: of the actor, the actor''s salt; of any other, the leaf''s salt or, where the resource is about a person (person_salt), one of its own, which can be kept when the person''s is destroyed.';

create or replace function audit_internal.commitment(salt bytea, content text)
returns bytea
language sql
stable
parallel safe
as $$
    select pg_catalog.sha256(coalesce(salt, '') operator(pg_catalog.||) pg_catalog.convert_to(content, 'UTF8'))
$$;

comment on function audit_internal.commitment(bytea, text) is
    'SHA-256 over the salt (32 bytes; null: none) and a part in UTF-8: it commits to the part without disclosing it.';

create or replace function audit_internal.event_text(event audit.event, actor bytea, label bytea, was bytea, becomes bytea)
returns text
language sql
stable
parallel safe
as $$
    select pg_catalog.json_build_array(
        'pgtrail event 1',
        event.id,
        event.xid::text,
        audit_internal.rfc3339(event.occurred_at),
        event.org_id,
        event.category,
        event.action,
        event.operation,
        event.table_name,
        event.resource_type,
        event.resource_id,
        event.request_id,
        event.reason,
        event.actor_type,
        event.db_role,
        event.client_addr,
        event.application_name,
        event.changed,
        event.imported_from,
        event.node,
        event.node_id,
        event.node_xid::text,
        pg_catalog.encode(actor, 'hex'),
        pg_catalog.encode(label, 'hex'),
        case when event.before is not null then coalesce(pg_catalog.encode(was, 'hex'), '') end,
        case when event.after is not null then coalesce(pg_catalog.encode(becomes, 'hex'), '') end
    )::text
$$;

comment on function audit_internal.event_text(audit.event, bytea, bytea, bytea, bytea) is
    'The canonical text of an event: a JSON array of its fields, with commitments (in hex) in place of those that may be about a person.';

create or replace function audit_internal.leaf(leaf_salt bytea, content text)
returns bytea
language sql
stable
parallel safe
as $$
    select pg_catalog.sha256(
        E'\\x00'::bytea operator(pg_catalog.||) leaf_salt operator(pg_catalog.||) pg_catalog.convert_to(content, 'UTF8')
    )
$$;

comment on function audit_internal.leaf(bytea, text) is 'The leaf hash (RFC 6962, 2.1) of an event''s text.';

create or replace function audit_internal.event_leaf(event audit.event, secret bytea, actor_salt bytea, person_salt bytea)
returns table (leaf bytea)
language sql
stable
parallel safe
as $$
    select audit_internal.leaf(blinded.salt, audit_internal.event_text(event, held.actor, held.label, held.was, held.becomes)) as leaf
    -- (Computed once: without an offset each place where it is used would.)
    from (select audit_internal.leaf_salt(secret, event.id) as salt offset 0) as blinded
    cross join lateral (
        select
            pg_catalog.string_agg(hashed.commitment, '') filter (where hashed.side = 'actor') as actor,
            pg_catalog.string_agg(hashed.commitment, '') filter (where hashed.side = 'label') as label,
            pg_catalog.string_agg(hashed.commitment, '') filter (where hashed.side = 'before') as was,
            pg_catalog.string_agg(hashed.commitment, '') filter (where hashed.side = 'after') as becomes
        from (
            select
                parts.side,
                audit_internal.commitment(audit_internal.part_salt(parts.part, blinded.salt, actor_salt, person_salt), parts.content) as commitment
            from audit_internal.parts(event) as parts
        ) as hashed
    ) as held
$$;

comment on function audit_internal.event_leaf(audit.event, bytea, bytea, bytea) is
    'Returns the leaf of an event of which nothing was erased. secret: of its seal; actor_salt, person_salt: of its actor, and of its resource where that is about a person.';

create or replace function audit_internal.merkle_parents(level bytea)
returns bytea
language sql
immutable
parallel safe
as $$
    -- Pair by pair from the left; one that is left over goes up as it is. That is the tree of the RFC.
    select pg_catalog.string_agg(
        case
            when pg_catalog.length(level) - place >= 64 then
                pg_catalog.sha256(E'\\x01' || pg_catalog.substr(level, place + 1, 64))
            else pg_catalog.substr(level, place + 1, 32)
        end,
        '' order by place
    )
    from pg_catalog.generate_series(0, pg_catalog.length(level) - 1, 64) as place
$$;

comment on function audit_internal.merkle_parents(bytea) is
    'The level of a Merkle tree above one: nodes of 32 bytes, one after the other (RFC 6962, 2.1).';

create or replace function audit_internal.merkle_root(leaves bytea)
returns bytea
language plpgsql
immutable
parallel safe
set search_path = pg_catalog, pg_temp
as $$
declare
    level bytea := leaves;
begin
    while length(level) > 32
    loop
        level := audit_internal.merkle_parents(level);
    end loop;
    return case level when '' then sha256('') else level end;
end
$$;

comment on function audit_internal.merkle_root(bytea) is
    'The root (RFC 6962, 2.1; 32 bytes) over leaf hashes, 32 bytes each, one after the other.';

create or replace function audit_internal.seal_text(seal audit.seal)
returns text
language sql
stable
as $$
    select pg_catalog.json_build_array(
        'pgtrail seal 1',
        seal.number,
        audit_internal.rfc3339(seal.sealed_at),
        seal.system_identifier::text,
        seal.from_snapshot::text,
        audit_internal.rfc3339(seal.from_time),
        seal.from_xid::text,
        seal.from_id,
        seal.to_snapshot::text,
        audit_internal.rfc3339(seal.to_time),
        seal.epoch,
        seal.above_id,
        seal.up_to_id,
        seal.events,
        seal.first_id,
        seal.last_id,
        seal.personal,
        seal.months,
        pg_catalog.encode(seal.root, 'hex'),
        pg_catalog.encode(seal.previous, 'hex')
    )::text
$$;

comment on function audit_internal.seal_text(audit.seal) is 'The canonical text of a seal, over which its hash is the SHA-256. docs/security/seals.md.';

create or replace function audit_internal.seal_hash(seal audit.seal)
returns bytea
language sql
stable
as $$
    select pg_catalog.sha256(pg_catalog.convert_to(audit_internal.seal_text(seal), 'UTF8'))
$$;

comment on function audit_internal.seal_hash(audit.seal) is 'The hash of a seal, 32 bytes.';
