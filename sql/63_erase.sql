-- Erasure: a person's name, e-mail address and network address, without breaking a seal.

create or replace function audit.personal_types()
returns text[]
language sql
stable
as $$
    select coalesce(pg_catalog.array_agg(distinct personal.type), '{}')
    from (
        select resource as type
        from audit.tracked_table
        where coalesce(personal, audit.tells_of_a_person(relation))
        union all
        select pg_catalog.unnest(personal)
        from audit.seal
    ) as personal
$$;

comment on function audit.personal_types() is
    'The resource types whose rows tell of a person, or did when some seal was made.';

create or replace function audit.resource_key(event audit.event)
returns text
language sql
immutable
as $$
    select event.resource_type || ':' || event.resource_id
$$;

comment on function audit.resource_key(audit.event) is 'Type and id of an event''s resource in one text.';

create or replace function audit.own_resources(names text[])
returns text[]
language sql
stable
as $$
    select coalesce(pg_catalog.array_agg(distinct audit.resource_key(event)), '{}')
    from audit.event
    where event.resource_type = any (array(select pg_catalog.unnest(audit.personal_types())))
        and (
            event.resource_id = any (names)
            or event.resource_label = any (names)
            or exists (
                select
                from pg_catalog.jsonb_each_text(coalesce(event.before, '{}') || coalesce(event.after, '{}')) as field
                where field.value = any (names) and audit.looks_personal(field.key)
            )
        )
$$;

comment on function audit.own_resources(text[]) is
    'The resources that are the person who goes by these names: by id, by label, or by a column that looks personal. As audit.resource_key() gives them.';

create or replace function audit.names_of(ids text[], own text[])
returns text[]
language sql
stable
as $$
    select pg_catalog.array_agg(distinct named.name)
    from (
        select pg_catalog.unnest(ids) as name
        union
        -- E-mail addresses that stand in the person's own rows, earlier ones too.
        select field.value
        from audit.event
        cross join lateral (
            select value from pg_catalog.jsonb_each_text(coalesce(event.before, '{}'))
            union all
            select value from pg_catalog.jsonb_each_text(coalesce(event.after, '{}'))
        ) as field
        where audit.resource_key(event) = any (own) and field.value ~ E'^[^@\\s]+@[^@\\s]+$'
    ) as named
    where pg_catalog.length(named.name) > 1 and named.name <> '[redacted]'
$$;

comment on function audit.names_of(text[], text[]) is
    'What a person goes by in the log: ids and labels, and the e-mail addresses in their own rows.';

create or replace function audit.labels_of(ids text[])
returns text[]
language sql
stable
as $$
    select pg_catalog.array_agg(distinct name)
    from (
        select pg_catalog.unnest(ids) as name
        union
        select actor_label from audit.event where actor_id = any (ids) and actor_label is not null
    ) as named
$$;

comment on function audit.labels_of(text[]) is 'An actor''s ids and the labels that they were recorded with.';

create or replace function audit.mentions(content text, known text[])
returns boolean
language sql
immutable
as $$
    select coalesce(
        pg_catalog.bool_or(
            -- As it stands in JSON.
            pg_catalog.strpos(content, pg_catalog.btrim(pg_catalog.to_json(name)::text, '"')) > 0
        ),
        false
    )
    from pg_catalog.unnest(known) as name
$$;

comment on function audit.mentions(text, text[]) is 'Whether one of the names stands anywhere in a text.';

create or replace function audit.without_person(content jsonb, known text[], pseudonym text, own boolean)
returns jsonb
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
begin
    case jsonb_typeof(content)
        when 'string' then
            return case when content #>> '{}' = any (known) then to_jsonb(pseudonym) else content end;
        when 'object' then
            return (
                select coalesce(
                    jsonb_object_agg(
                        case
                            when member.key <> all (known) then member.key
                            -- (A person may have several names, and an object a member of each.)
                            when member.again > 1 then pseudonym || '-' || member.again
                            else pseudonym
                        end,
                        audit.member_without_person(member.key, member.value, known, pseudonym, own)
                    ),
                    '{}'
                )
                from (
                    select key, value, row_number() over (partition by key = any (known)) as again
                    from jsonb_each(content)
                ) as member
            );
        when 'array' then
            return (
                select coalesce(
                    jsonb_agg(audit.without_person(element.value, known, pseudonym, own) order by element.position), '[]'
                )
                from jsonb_array_elements(content) with ordinality as element (value, position)
            );
        else
            return content;
    end case;
end
$$;

comment on function audit.without_person(jsonb, text[], text, boolean) is
    'The value with the pseudonym in place of each text, and each key, that is one of the names and, where the row is the person''s own, of each member that looks personal.';

create or replace function audit.member_without_person(key text, value jsonb, known text[], pseudonym text, own boolean)
returns jsonb
language sql
immutable
as $$
    select case
        when own and audit.looks_personal(key) and value not in ('null', '"[redacted]"') then pg_catalog.to_jsonb(pseudonym)
        else audit.without_person(value, known, pseudonym, own)
    end
$$;

comment on function audit.member_without_person(text, jsonb, text[], text, boolean) is
    'The value of a member, as audit.without_person() leaves it.';

create or replace function audit.column_without_person(key text, value jsonb, known text[], pseudonym text, own boolean)
returns jsonb
language plpgsql
immutable
as $$
begin
    return audit.member_without_person(key, value, known, pseudonym, own);
exception
    when statement_too_complex then
        -- Hundreds of levels, one function within the other: then all of it goes, if anything has to.
        return case when own or audit.mentions(value::text, known) then pg_catalog.to_jsonb(pseudonym) else value end;
end
$$;

comment on function audit.column_without_person(text, jsonb, text[], text, boolean) is
    'The value of a column, as audit.without_person() leaves it; the pseudonym in place of one that is nested too deep to be looked through, and mentions the person or is in a row of theirs.';

create or replace function audit.row_without_person(content jsonb, known text[], pseudonym text, own boolean)
returns jsonb
language sql
immutable
as $$
    select case pg_catalog.jsonb_typeof(content)
        when 'object' then coalesce(
            (
                select pg_catalog.jsonb_object_agg(
                    member.key, audit.column_without_person(member.key, member.value, known, pseudonym, own)
                )
                from pg_catalog.jsonb_each(content) as member
            ),
            '{}'
        )
        else audit.without_person(content, known, pseudonym, own)
    end
$$;

comment on function audit.row_without_person(jsonb, text[], text, boolean) is
    'A row without the person: its keys are columns, and stay.';

create or replace function audit.label_without_person(label text, known text[], pseudonym text)
returns text
language sql
immutable
strict
as $$
    -- (By its parts, of which audit.joined_label() may have made it.)
    select case
        when label = any (known) then pseudonym
        else (
            select pg_catalog.string_agg(case when part = any (known) then pseudonym else part end, ' → ' order by number)
            from pg_catalog.string_to_table(label, ' → ') with ordinality as piece (part, number)
        )
    end
$$;

comment on function audit.label_without_person(text, text[], text) is
    'A label with the pseudonym in place of a name that it is, or that is one of its parts.';

create or replace function audit.events_about(ids text[], known text[], own text[])
returns setof audit.event
language sql
stable
as $$
    select event.*
    from audit.event
    where event.actor_id = any (ids)
        or event.resource_label <> audit.label_without_person(event.resource_label, known, '')
        or audit.resource_key(event) = any (own)
        -- Of the texts that contain a name somewhere, those that have it as a value.
        or (
            audit.mentions(event.before::text, known) and event.before <> audit.row_without_person(event.before, known, '', false)
        )
        or (
            audit.mentions(event.after::text, known) and event.after <> audit.row_without_person(event.after, known, '', false)
        )
    order by event.id
$$;

comment on function audit.events_about(text[], text[], text[]) is 'The events in which a person acts, which are about the person''s own rows, or in which one of their names is a value.';

create or replace function audit.count_mentions(known text[])
returns bigint
language sql
stable
as $$
    select count(*)
    from audit.event
    where audit.mentions(
        pg_catalog.concat_ws(
            ' ', event.resource_id, event.reason, event.request_id, event.resource_label, event.actor_label, event.db_role, event.before, event.after
        ),
        known
    )
$$;

comment on function audit.count_mentions(text[]) is
    'How many events contain one of the names where it can''t be replaced: inside another text, in an id, a reason, a role.';

create or replace function audit.is_sealed(event audit.event)
returns boolean
language sql
stable
as $$
    select event.id <= head.epoch
        or pg_catalog.pg_visible_in_snapshot(event.xid, head.from_snapshot)
        or (head.to_snapshot is not null and event.id <= head.above_id and pg_catalog.pg_visible_in_snapshot(event.xid, head.to_snapshot))
    from audit.seal_head as head
$$;

comment on function audit.is_sealed(audit.event) is 'Whether an event is in a seal.';

create or replace function audit.keep_commitments(was audit.event, becomes audit.event, p_erasure_id bigint)
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
    seal audit.seal := audit.seal_of(was.id);
    secret bytea := (select seal_leaves.secret from audit.seal_leaves where number = seal.number);
    replaced record;
begin
    for replaced in
        select old.part, old.commitment, audit.commitment(null, new.content) as redacted
        from audit.sealed_parts(was, secret, seal.personal) as old
        join audit.parts(becomes) as new using (part)
        where old.content <> new.content
    loop
        -- A field that was erased before is committed to by what it was sealed as.
        update audit.erased_part
        set superseded = true
        where event_id = was.id and part = replaced.part and not superseded;
        insert into audit.erased_part (event_id, part, erasure_id, commitment, redacted)
        values (was.id, replaced.part, p_erasure_id, replaced.commitment, replaced.redacted);
    end loop;
end
$$;

comment on function audit.keep_commitments(audit.event, audit.event, bigint) is
    'Stores what the fields of a sealed event that are replaced were sealed as, and what stands there now.';

create or replace function audit.node_fields(event audit.event)
returns table (part text, content text, salt bytea)
language sql
stable
as $$
    -- Under each salt that the person ever had at the node, or none.
    with sealed as (
        select node_seal.personal, audit.leaf_salt(node_seal_leaves.secret, event.node_id) as salt
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
    select parts.part, parts.content, case when sealed.salt is not null then audit.part_salt(parts.part, sealed.salt, actor.salt, person.salt) end
    from audit.parts(event) as parts
    left join sealed on true
    left join actor on parts.part = 'actor'
    left join person on parts.part <> 'actor'
$$;

comment on function audit.node_fields(audit.event) is
    'What of a node''s event is committed to in the node''s leaf, each field once for each salt that may be its own; salt null: its seal has not arrived.';

create or replace function audit.keep_node_commitments(was audit.event, becomes audit.event)
returns void
language sql
volatile
as $$
    with replaced as (
        select old.part, old.salt, audit.commitment(old.salt, old.content) as commitment
        from audit.node_fields(was) as old
        join audit.parts(becomes) as new using (part)
        where old.content <> new.content
    ),
    -- What was kept with its salt is replaced now.
    closed as (
        update audit.node_erased_part as known
        set salt = null
        from replaced
        where (known.node, known.event_id, known.part) = (was.node, was.node_id, replaced.part) and known.here
    )
    insert into audit.node_erased_part (node, event_id, part, here, commitment)
    -- (Of a person who came back there are more than one: each is kept, and one of them is in the leaf.)
    select was.node, was.node_id, part, true, case when salt is not null then commitment end
    from replaced
    where not exists (
        select
        from audit.node_erased_part as known
        where (known.node, known.event_id, known.part) = (was.node, was.node_id, replaced.part) and known.here
    )
$$;

comment on function audit.keep_node_commitments(audit.event, audit.event) is
    'Stores what the fields of a node''s event that are replaced were sealed as there, where its seal has arrived.';

create or replace function audit.erase_from_event(
    was audit.event, ids text[], known text[], own text[], erasure audit.erasure
)
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
    becomes audit.event := was;
    is_own boolean := coalesce(audit.resource_key(was) = any (own), false);
begin
    if was.actor_id = any (ids) then
        becomes.actor_id := erasure.pseudonym;
        becomes.actor_label := case when was.actor_label is not null then erasure.pseudonym end;
        becomes.actor_ip := null;
        becomes.user_agent := null;
    end if;
    becomes.resource_label := audit.label_without_person(was.resource_label, known, erasure.pseudonym);
    becomes.before := audit.row_without_person(was.before, known, erasure.pseudonym, is_own);
    becomes.after := audit.row_without_person(was.after, known, erasure.pseudonym, is_own);
    if was.node is not null then
        perform audit.keep_node_commitments(was, becomes);
    end if;
    if audit.is_sealed(was) then
        perform audit.keep_commitments(was, becomes, erasure.id);
    end if;
    update audit.event
    set
        actor_id = becomes.actor_id,
        actor_label = becomes.actor_label,
        actor_ip = becomes.actor_ip,
        user_agent = becomes.user_agent,
        resource_label = becomes.resource_label,
        before = becomes.before,
        after = becomes.after
    where id = was.id and occurred_at = was.occurred_at;
end
$$;

comment on function audit.erase_from_event(audit.event, text[], text[], text[], audit.erasure) is
    'Replaces a person in one event, and keeps what its fields were sealed as.';

create or replace function audit.blind_the_rest(p_erasure_id bigint, ids text[])
returns void
language plpgsql
volatile
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
        -- What says nothing of the person keeps the salts of its own, and can be verified as before.
        insert into audit.erased_part (event_id, part, erasure_id, commitment, redacted, salt)
        select other.id, held.part, p_erasure_id, held.commitment, audit.commitment(null, held.content), held.salt
        from audit.event as other
        cross join lateral audit.seal_of(other.id) as seal
        join audit.seal_leaves on seal_leaves.number = seal.number
        cross join lateral audit.sealed_parts(other, seal_leaves.secret, seal.personal) as held
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

comment on function audit.blind_the_rest(bigint, text[]) is
    'Destroys the salts by which a guess at what was erased could be confirmed.';

create or replace function audit.blind_the_nodes(p_erasure_id bigint, own text[], ids text[])
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
    told text[] := own || array(
        select distinct audit.resource_key(event)
        from audit.erased_part
        join audit.event on event.id = erased_part.event_id
        where erased_part.erasure_id = p_erasure_id and erased_part.part <> 'actor' and event.node is not null
    );
begin
    -- As of this log's own salts: what says nothing of the person keeps the salts of its own.
    insert into audit.node_erased_part (node, event_id, part, here, commitment, salt)
    select sibling.node, sibling.node_id, field.part, true, audit.commitment(field.salt, field.content), field.salt
    from audit.event as sibling
    cross join lateral audit.node_fields(sibling) as field
    where sibling.node is not null
        and audit.resource_key(sibling) = any (told)
        and field.part <> 'actor'
        and field.salt is not null
        and not exists (
            select
            from audit.node_erased_part as known
            where (known.node, known.event_id, known.part) = (sibling.node, sibling.node_id, field.part) and known.here
        );
    with destroyed as (
        delete from audit.node_salt
        where (kind = 'resource' and type || ':' || id = any (told)) or (kind = 'actor' and id = any (ids))
        returning salt
    )
    insert into audit.node_dead_salt (digest)
    select distinct sha256(salt)
    from destroyed
    on conflict do nothing;
end
$$;

comment on function audit.blind_the_nodes(bigint, text[], text[]) is
    'Destroys the salts of the nodes by which a guess at what was erased could be confirmed. own: the person''s own resources, as audit.resource_key() gives them.';

create or replace function audit.erasure_digest(p_erasure_id bigint)
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

comment on function audit.erasure_digest(bigint) is
    'SHA-256 over what an erasure replaced, in the order of event ids and parts (bytewise): id (8 bytes, big-endian), name of the part, commitment, digest of what stands there since.';

create or replace function audit.check_erasure(actor_id text, reason text)
returns void
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
begin
    if coalesce(reason, '') !~ E'\\S' then
        raise exception using
            errcode = 'PT027',
            message = 'a person is not erased without a reason',
            hint = 'Say why with --reason: it is recorded. Do not name the person in it.';
    elsif length(coalesce(actor_id, '')) < 2 then
        raise exception using
            errcode = 'PT027',
            message = 'an actor''s id has two characters at least',
            hint = 'Give the id as pgtrail log --json shows it in actor_id.';
    elsif strpos(reason, actor_id) > 0 then
        raise exception using
            errcode = 'PT027',
            message = 'the reason names the person who is to be erased',
            hint = 'It stays in the log: give a ticket''s number instead.';
    end if;
end
$$;

comment on function audit.check_erasure(text, text) is 'Raises PT027 unless somebody can be erased so.';

create or replace function audit.erase_actor(p_actor_id text, p_reason text, p_also text[] default '{}')
returns jsonb
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    ids text[] := p_actor_id || p_also;
    known text[];
    own text[];
    erasure audit.erasure;
    event audit.event;
    told bigint := 0;
begin
    perform audit.check_erasure(p_actor_id, p_reason);
    -- No seal is made meanwhile: an event is in one, or in none, until this is done.
    perform from audit.seal_head for update;
    -- Nor is anything filed under what they were called.
    perform from audit.filing for update;
    known := audit.labels_of(ids);
    own := audit.own_resources(known);
    known := audit.names_of(known, own);

    insert into audit.erasure (pseudonym, reason)
    values ('erased-' || left(encode(audit.random_bytes(), 'hex'), 16), p_reason)
    returning * into erasure;

    for event in select found.* from audit.events_about(ids, known, own) as found
    loop
        perform audit.erase_from_event(event, ids, known, own, erasure);
        told := told + 1;
    end loop;
    if told = 0 then
        raise exception using
            errcode = 'PT026',
            message = 'nothing in the log tells of this actor',
            hint = 'Give the id as pgtrail log --json shows it in actor_id; other names of the person: --also.';
    end if;
    -- (Of an organization that is called as its only member.)
    update audit.org_label
    set label = audit.label_without_person(label, known, erasure.pseudonym)
    where label <> audit.label_without_person(label, known, erasure.pseudonym);
    perform audit.rename_filed(ids, erasure.pseudonym);
    perform audit.blind_the_rest(erasure.id, ids);
    perform audit.blind_the_nodes(erasure.id, own, ids);

    erasure.event_id := audit.record(
        'audit.actor_erased', 'actor', erasure.pseudonym, null, null,
        jsonb_build_object(
            'pseudonym', erasure.pseudonym,
            'reason', p_reason,
            'events', told,
            'digest', encode(audit.erasure_digest(erasure.id), 'hex')
        )
    );
    update audit.erasure as known_erasure
    set event_id = erasure.event_id
    where known_erasure.id = erasure.id;
    return jsonb_build_object(
        'pseudonym', erasure.pseudonym, 'events', told, 'mentions', audit.count_mentions(known)
    );
end
$$;

comment on function audit.erase_actor(text, text, text[]) is
    'Replaces a person by a pseudonym wherever the log names them: the actor''s id and label (address and user agent go), and in resource labels and rows every text that is one of their ids, labels or e-mail addresses; of rows that are the person''s own, every column that looks personal. p_also: other ids and names of the same person. Seals stay verifiable; the salts that could confirm a guess are destroyed. Returns pseudonym, events, and mentions: how many events still contain a name inside another text, an id or a reason. PT026, PT027.';
