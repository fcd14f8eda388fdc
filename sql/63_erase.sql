-- Erasure: a person's name, e-mail address and network address, without breaking a seal.

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
