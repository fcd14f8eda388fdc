-- Erasure, of one value: a person's names replaced by a pseudonym in a label, a JSON value, a row.

create or replace function audit_internal.mentions(content text, known text[])
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

comment on function audit_internal.mentions(text, text[]) is 'Whether one of the names stands anywhere in a text.';

create or replace function audit_internal.without_person(content jsonb, known text[], pseudonym text, own boolean)
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
                        audit_internal.member_without_person(member.key, member.value, known, pseudonym, own)
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
                    jsonb_agg(audit_internal.without_person(element.value, known, pseudonym, own) order by element.position), '[]'
                )
                from jsonb_array_elements(content) with ordinality as element (value, position)
            );
        else
            return content;
    end case;
end
$$;

comment on function audit_internal.without_person(jsonb, text[], text, boolean) is
    'The value with the pseudonym in place of each text, and each key, that is one of the names and, where the row is the person''s own, of each member that looks personal.';

create or replace function audit_internal.member_without_person(key text, value jsonb, known text[], pseudonym text, own boolean)
returns jsonb
language sql
immutable
as $$
    select case
        when own and audit_internal.looks_personal(key) and value not in ('null', '"[redacted]"') then pg_catalog.to_jsonb(pseudonym)
        else audit_internal.without_person(value, known, pseudonym, own)
    end
$$;

comment on function audit_internal.member_without_person(text, jsonb, text[], text, boolean) is
    'The value of a member, as audit_internal.without_person() leaves it.';

create or replace function audit_internal.column_without_person(key text, value jsonb, known text[], pseudonym text, own boolean)
returns jsonb
language plpgsql
immutable
as $$
begin
    return audit_internal.member_without_person(key, value, known, pseudonym, own);
exception
    when statement_too_complex then
        -- Hundreds of levels, one function within the other: then all of it goes, if anything has to.
        return case when own or audit_internal.mentions(value::text, known) then pg_catalog.to_jsonb(pseudonym) else value end;
end
$$;

comment on function audit_internal.column_without_person(text, jsonb, text[], text, boolean) is
    'The value of a column, as audit_internal.without_person() leaves it; the pseudonym in place of one that is nested too deep to be looked through, and mentions the person or is in a row of theirs.';

create or replace function audit_internal.row_without_person(content jsonb, known text[], pseudonym text, own boolean)
returns jsonb
language sql
immutable
as $$
    select case pg_catalog.jsonb_typeof(content)
        when 'object' then coalesce(
            (
                select pg_catalog.jsonb_object_agg(
                    member.key, audit_internal.column_without_person(member.key, member.value, known, pseudonym, own)
                )
                from pg_catalog.jsonb_each(content) as member
            ),
            '{}'
        )
        else audit_internal.without_person(content, known, pseudonym, own)
    end
$$;

comment on function audit_internal.row_without_person(jsonb, text[], text, boolean) is
    'A row without the person: its keys are columns, and stay.';

create or replace function audit_internal.label_without_person(label text, known text[], pseudonym text)
returns text
language sql
immutable
strict
as $$
    -- (By its parts, of which audit_internal.joined_label() may have made it.)
    select case
        when label = any (known) then pseudonym
        else (
            select pg_catalog.string_agg(case when part = any (known) then pseudonym else part end, ' → ' order by number)
            from pg_catalog.string_to_table(label, ' → ') with ordinality as piece (part, number)
        )
    end
$$;

comment on function audit_internal.label_without_person(text, text[], text) is
    'A label with the pseudonym in place of a name that it is, or that is one of its parts.';
