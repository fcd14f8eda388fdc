-- Erasure: a person's name, e-mail address and network address are replaced without breaking a seal.

create or replace function audit_internal.personal_types()
returns text[]
language sql
stable
as $$
    select coalesce(pg_catalog.array_agg(distinct personal.type), '{}')
    from (
        select resource as type
        from audit.tracked_table
        where coalesce(personal, audit_internal.is_about_person(relation))
        union all
        select pg_catalog.unnest(personal)
        from audit.seal
    ) as personal
$$;

comment on function audit_internal.personal_types() is
    'Returns the resource types whose rows are about a person, or were when a seal was made.';

create or replace function audit_internal.resource_key(event audit.event)
returns text
language sql
immutable
as $$
    select event.resource_type || ':' || event.resource_id
$$;

comment on function audit_internal.resource_key(audit.event) is 'Returns type and id of an event''s resource as one text.';

create or replace function audit_internal.person_resources(names text[])
returns text[]
language sql
stable
as $$
    select coalesce(pg_catalog.array_agg(distinct audit_internal.resource_key(event)), '{}')
    from audit.event
    where event.resource_type = any (array(select pg_catalog.unnest(audit_internal.personal_types())))
        and (
            event.resource_id = any (names)
            or event.resource_label = any (names)
            or exists (
                select
                from pg_catalog.jsonb_each_text(coalesce(event.before, '{}') || coalesce(event.after, '{}')) as field
                where field.value = any (names) and audit_internal.looks_personal(field.key)
            )
        )
$$;

comment on function audit_internal.person_resources(text[]) is
    'Returns the keys (audit_internal.resource_key()) of the resources that are a person: by id, by label, or by a column that looks personal.';

create or replace function audit_internal.person_names(ids text[], own text[])
returns text[]
language sql
stable
as $$
    select pg_catalog.array_agg(distinct named.name)
    from (
        select pg_catalog.unnest(ids) as name
        union
        -- E-mail addresses in the person's own rows, earlier ones too.
        select field.value
        from audit.event
        cross join lateral (
            select value from pg_catalog.jsonb_each_text(coalesce(event.before, '{}'))
            union all
            select value from pg_catalog.jsonb_each_text(coalesce(event.after, '{}'))
        ) as field
        where audit_internal.resource_key(event) = any (own) and field.value ~ E'^[^@\\s]+@[^@\\s]+$'
    ) as named
    where pg_catalog.length(named.name) > 1 and named.name <> '[redacted]'
$$;

comment on function audit_internal.person_names(text[], text[]) is
    'Returns a person''s names in the log: ids, labels, and the e-mail addresses in their own rows.';

create or replace function audit_internal.person_events(ids text[], known text[], own text[])
returns setof audit.event
language sql
stable
as $$
    select event.*
    from audit.event
    where event.actor_id = any (ids)
        or event.resource_label <> audit_internal.replace_person_in_label(event.resource_label, known, '')
        or audit_internal.resource_key(event) = any (own)
        -- The first condition is cheap; the second requires a name as a whole value.
        or (
            audit_internal.contains_name(event.before::text, known) and event.before <> audit_internal.replace_person_in_row(event.before, known, '', false)
        )
        or (
            audit_internal.contains_name(event.after::text, known) and event.after <> audit_internal.replace_person_in_row(event.after, known, '', false)
        )
    order by event.id
$$;

comment on function audit_internal.person_events(text[], text[], text[]) is 'Returns the events in which a person acts, which are about their own rows, or in which one of their names is a value.';

create or replace function audit_internal.erase_from_event(
    was audit.event, ids text[], known text[], own text[], erasure audit.erasure
)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    becomes audit.event := was;
    is_own boolean := coalesce(audit_internal.resource_key(was) = any (own), false);
begin
    if was.actor_id = any (ids) then
        becomes.actor_id := erasure.pseudonym;
        becomes.actor_label := case when was.actor_label is not null then erasure.pseudonym end;
        becomes.actor_ip := null;
        becomes.user_agent := null;
    end if;
    becomes.resource_label := audit_internal.replace_person_in_label(was.resource_label, known, erasure.pseudonym);
    becomes.before := audit_internal.replace_person_in_row(was.before, known, erasure.pseudonym, is_own);
    becomes.after := audit_internal.replace_person_in_row(was.after, known, erasure.pseudonym, is_own);
    if was.node is not null then
        perform audit_internal.store_node_commitments(was, becomes);
    end if;
    if audit_internal.is_sealed(was) then
        perform audit_internal.store_commitments(was, becomes, erasure.id);
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

comment on function audit_internal.erase_from_event(audit.event, text[], text[], text[], audit.erasure) is
    'Replaces a person in one event, and keeps the commitments of its fields.';

create or replace function audit_internal.check_erasure(actor_id text, reason text)
returns void
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
begin
    if coalesce(reason, '') !~ E'\\S' then
        raise exception using
            errcode = 'PT009',
            message = 'an erasure needs a reason',
            hint = 'Give one with --reason: it is recorded. Do not name the person in it.';
    elsif length(coalesce(actor_id, '')) < 2 then
        raise exception using
            errcode = 'PT009',
            message = 'an actor''s id has at least two characters',
            hint = 'Give the id as pgtrail log --json shows it in actor_id.';
    elsif strpos(reason, actor_id) > 0 then
        raise exception using
            errcode = 'PT009',
            message = 'the reason names the person who is to be erased',
            hint = 'It stays in the log: give a ticket''s number instead.';
    end if;
end
$$;

comment on function audit_internal.check_erasure(text, text) is 'Raises PT009 for a missing reason, one that names the person, or an id that is too short.';

create or replace function audit.erase_actor(p_actor_id text, p_reason text, p_also text[] default '{}')
returns jsonb
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    ids text[] := p_actor_id || p_also;
    known text[];
    own text[];
    erasure audit.erasure;
    event audit.event;
    event_count bigint := 0;
begin
    perform audit_internal.check_erasure(p_actor_id, p_reason);
    -- No seal is made meanwhile.
    perform from audit.seal_head for update;
    -- Nor is anything indexed under their ids.
    perform from audit.search_index_head for update;
    known := array(
        select unnest(ids)
        union
        select actor_label from audit.event where actor_id = any (ids) and actor_label is not null
    );
    own := audit_internal.person_resources(known);
    known := audit_internal.person_names(known, own);

    insert into audit.erasure (pseudonym, reason)
    values ('erased-' || left(encode(audit_internal.random_bytes(), 'hex'), 16), p_reason)
    returning * into erasure;

    for event in select found.* from audit_internal.person_events(ids, known, own) as found
    loop
        perform audit_internal.erase_from_event(event, ids, known, own, erasure);
        event_count := event_count + 1;
    end loop;
    if event_count = 0 then
        raise exception using
            errcode = 'PT002',
            message = 'no event mentions this actor',
            hint = 'Give the id as pgtrail log --json shows it in actor_id; other names of the person: --also.';
    end if;
    -- (An organization may be named after its only member.)
    update audit.org_label
    set label = audit_internal.replace_person_in_label(label, known, erasure.pseudonym)
    where label <> audit_internal.replace_person_in_label(label, known, erasure.pseudonym);
    perform audit_internal.rename_in_search_index(ids, erasure.pseudonym);
    perform audit_internal.destroy_salts(erasure.id, ids);
    perform audit_internal.destroy_node_salts(erasure.id, own, ids);

    erasure.event_id := audit.record(
        'audit.actor_erased', 'actor', erasure.pseudonym, null, null,
        jsonb_build_object(
            'pseudonym', erasure.pseudonym,
            'reason', p_reason,
            'events', event_count,
            'digest', encode(audit_internal.erasure_digest(erasure.id), 'hex')
        )
    );
    update audit.erasure as known_erasure
    set event_id = erasure.event_id
    where known_erasure.id = erasure.id;
    return jsonb_build_object(
        'pseudonym', erasure.pseudonym,
        'events', event_count,
        'mentions', (
            select count(*)
            from audit.event as remaining
            where audit_internal.contains_name(
                concat_ws(
                    ' ', remaining.resource_id, remaining.reason, remaining.request_id, remaining.resource_label,
                    remaining.actor_label, remaining.db_role, remaining.before, remaining.after
                ),
                known
            )
        )
    );
end
$$;

comment on function audit.erase_actor(text, text, text[]) is
    'Replaces a person by a pseudonym throughout the log: the actor''s id and label (address and user agent are removed), and in resource labels and rows every text that is one of their ids, labels or e-mail addresses; in rows that are the person''s own, every column that looks personal. p_also: other ids and names of the same person. Seals stay verifiable; the salts that could confirm a guess are destroyed. Returns pseudonym, events, and mentions: how many events still contain a name inside another text, an id or a reason. PT002, PT009.';
