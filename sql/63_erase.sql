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
        where audit.resource_key(event) = any (own) and field.value ~ '^[^@\s]+@[^@\s]+$'
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
                        member.key,
                        case
                            when own and audit.looks_personal(member.key) and member.value not in ('null', '"[redacted]"') then
                                to_jsonb(pseudonym)
                            else audit.without_person(member.value, known, pseudonym, own)
                        end
                    ),
                    '{}'
                )
                from jsonb_each(content) as member
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
    'The value with the pseudonym in place of each text that is one of the names and, where the row is the person''s own, of each member that looks personal.';

create or replace function audit.events_about(ids text[], known text[], own text[])
returns setof audit.event
language sql
stable
as $$
    select event.*
    from audit.event
    where event.actor_id = any (ids)
        or event.resource_label = any (known)
        or audit.resource_key(event) = any (own)
        -- Of the texts that contain a name somewhere, those that have it as a value.
        or (
            audit.mentions(event.before::text, known) and event.before <> audit.without_person(event.before, known, '', false)
        )
        or (
            audit.mentions(event.after::text, known) and event.after <> audit.without_person(event.after, known, '', false)
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

create or replace function audit.salt_of(event audit.event, part text)
returns bytea
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
    found_salt bytea := (
        select salt
        from audit.salt
        where (part = 'actor' and (kind, type, id) = ('actor', event.actor_type, event.actor_id))
            or (part = 'rows' and (kind, type, id) = ('resource', event.resource_type, event.resource_id))
    );
begin
    if part = 'rows' and found_salt is not null and event.resource_type <> all ((audit.seal_of(event.id)).personal) then
        -- It was sealed before its table counted as personal.
        return null;
    end if;
    return found_salt;
end
$$;

comment on function audit.salt_of(audit.event, text) is 'The salt under which a part of a sealed event was committed to; null: none.';

create or replace function audit.keep_commitment(was audit.event, p_part text, old_text text, new_text text, p_erasure_id bigint)
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
    kept bytea;
begin
    -- A part that was erased before is committed to by what it was sealed as.
    update audit.erased_part
    set superseded = true
    where event_id = was.id and part = p_part and not superseded
    returning commitment into kept;
    insert into audit.erased_part (event_id, part, erasure_id, commitment, redacted)
    values (
        was.id,
        p_part,
        p_erasure_id,
        coalesce(kept, audit.commitment(audit.salt_of(was, p_part), old_text)),
        audit.commitment(null, new_text)
    );
end
$$;

comment on function audit.keep_commitment(audit.event, text, text, text, bigint) is
    'Stores what a part of a sealed event was sealed as, and what stands there now.';

create or replace function audit.keep_node_commitment(was audit.event, p_part text)
returns void
language sql
volatile
as $$
    with sealed as (
        select node_seal.personal
        from audit.node_seal
        join audit.node_seal_leaves using (node, number)
        where node_seal.node = was.node
            and was.node_id between node_seal.first_id and node_seal.last_id
            and was.node_id = any (node_seal_leaves.ids)
        order by node_seal.arrival
        limit 1
    )
    insert into audit.node_erased_part (node, event_id, part, here, commitment)
    -- (Of a person who came back there are more than one: each is kept, and one of them is in the leaf.)
    select was.node, was.node_id, p_part, true, held.commitment
    from (select) as once
    left join lateral (
        select commitment
        from sealed
        cross join lateral audit.node_commitments(was.node, was, p_part, sealed.personal) as commitment
    ) as held on true
    where not exists (
        select
        from audit.node_erased_part as known
        where (known.node, known.event_id, known.part) = (was.node, was.node_id, p_part) and known.here
    )
$$;

comment on function audit.keep_node_commitment(audit.event, text) is
    'Stores what a part of a node''s event was sealed as there, where its seal has arrived.';

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
    if was.resource_label = any (known) then
        becomes.resource_label := erasure.pseudonym;
    end if;
    becomes.before := audit.without_person(was.before, known, erasure.pseudonym, is_own);
    becomes.after := audit.without_person(was.after, known, erasure.pseudonym, is_own);
    if was.node is not null then
        perform audit.keep_node_commitment(was, 'actor') where audit.actor_part(was) <> audit.actor_part(becomes);
        perform audit.keep_node_commitment(was, 'rows') where audit.rows_part(was) <> audit.rows_part(becomes);
    end if;
    if audit.is_sealed(was) then
        if audit.actor_part(was) <> audit.actor_part(becomes) then
            perform audit.keep_commitment(was, 'actor', audit.actor_part(was), audit.actor_part(becomes), erasure.id);
        end if;
        if audit.rows_part(was) <> audit.rows_part(becomes) then
            perform audit.keep_commitment(was, 'rows', audit.rows_part(was), audit.rows_part(becomes), erasure.id);
        end if;
    end if;
    update audit.event
    set
        actor_id = becomes.actor_id,
        actor_hash = hashtextextended(becomes.actor_id, 0),
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
    'Replaces a person in one event, and keeps what its parts were sealed as.';

create or replace function audit.blind_the_rest(p_erasure_id bigint, ids text[])
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
    salted audit.salt;
    sibling audit.event;
begin
    for salted in
        select distinct salt.*
        from audit.erased_part
        join audit.event on event.id = erased_part.event_id
        join audit.salt on (salt.kind, salt.type, salt.id) = ('resource', event.resource_type, event.resource_id)
        where erased_part.erasure_id = p_erasure_id and erased_part.part = 'rows'
    loop
        -- Without the salt they can't be computed either, though they say nothing of the person.
        for sibling in
            select other.*
            from audit.event as other
            where (other.resource_type, other.resource_id) = (salted.type, salted.id)
                and audit.is_sealed(other)
                and not exists (
                    select from audit.erased_part where event_id = other.id and part = 'rows' and not superseded
                )
        loop
            perform audit.keep_commitment(
                sibling, 'rows', audit.rows_part(sibling), audit.rows_part(sibling), p_erasure_id
            );
        end loop;
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
        where erased_part.erasure_id = p_erasure_id and erased_part.part = 'rows' and event.node is not null
    );
begin
    -- As of this log's own salts: without one the resource's other events can't be computed either.
    perform audit.keep_node_commitment(sibling, 'rows')
    from audit.event as sibling
    where sibling.node is not null and audit.resource_key(sibling) = any (told);
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
                pg_catalog.int8send(event_id) || pg_catalog.convert_to(part, 'UTF8') || commitment || redacted, '' order by event_id, part
            ),
            ''
        )
    )
    from audit.erased_part
    where erasure_id = p_erasure_id
$$;

comment on function audit.erasure_digest(bigint) is
    'SHA-256 over what an erasure replaced, in the order of event ids and parts: id (8 bytes, big-endian), name of the part, commitment, digest of what stands there since.';

create or replace function audit.check_erasure(actor_id text, reason text)
returns void
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
begin
    if coalesce(reason, '') !~ '\S' then
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

create or replace function audit.check_is_here(event audit.event)
returns void
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
    month text := (
        select distributed.partition
        from audit.distributed_month as distributed
        join audit.partition_bounds() as bounds on bounds.partition = to_regclass(distributed.partition)
        where event.occurred_at >= bounds.begins
            and event.occurred_at < bounds.ends
            and event.org_id is not null
            and event.id <= distributed.last_id
    );
begin
    -- Two databases do not commit as one: a failure between the two would leave an event that is in no erasure.
    if month is not null then
        raise exception using
            errcode = 'PT043',
            message = format('event %s lies elsewhere, where nothing is changed', event.id),
            hint = format('Gather its month first: pgtrail hub distribute --gather %s; then erase, and distribute it again.', month);
    end if;
end
$$;

comment on function audit.check_is_here(audit.event) is 'Raises PT043 if an event is in a month that is distributed.';

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
    known := audit.labels_of(ids);
    own := audit.own_resources(known);
    known := audit.names_of(known, own);

    insert into audit.erasure (pseudonym, reason)
    values ('erased-' || left(encode(audit.random_bytes(), 'hex'), 16), p_reason)
    returning * into erasure;

    for event in select found.* from audit.events_about(ids, known, own) as found
    loop
        perform audit.check_is_here(event);
        perform audit.erase_from_event(event, ids, known, own, erasure);
        told := told + 1;
    end loop;
    if told = 0 then
        raise exception using
            errcode = 'PT026',
            message = 'nothing in the log tells of this actor',
            hint = 'Give the id as pgtrail log --json shows it in actor_id; other names of the person: --also.';
    end if;
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
    'Replaces a person by a pseudonym wherever the log names them: the actor''s id and label (address and user agent go), and in resource labels and rows every text that is one of their ids, labels or e-mail addresses; of rows that are the person''s own, every column that looks personal. p_also: other ids and names of the same person. Seals stay verifiable; the salts that could confirm a guess are destroyed. Returns pseudonym, events, and mentions: how many events still contain a name inside another text, an id or a reason. PT026, PT027, PT043.';
