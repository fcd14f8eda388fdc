-- Erasure in one value: a person's names are replaced by a pseudonym in a label, a JSON value, a row.

create or replace function audit_internal.contains_name(content text, known text[])
returns boolean
language sql
immutable
as $$
    select coalesce(
        pg_catalog.bool_or(
            -- As escaped in JSON.
            pg_catalog.strpos(content, pg_catalog.btrim(pg_catalog.to_json(name)::text, '"')) > 0
        ),
        false
    )
    from pg_catalog.unnest(known) as name
$$;

comment on function audit_internal.contains_name(text, text[]) is 'Whether a text contains one of the names.';

create or replace function audit_internal.replace_person(content jsonb, known text[], pseudonym text, is_own boolean)
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
                            -- (An object may have members named by several of the person's names.)
                            when member.again > 1 then pseudonym || '-' || member.again
                            else pseudonym
                        end,
                        audit_internal.replace_person_in_member(member.key, member.value, known, pseudonym, is_own)
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
                    jsonb_agg(audit_internal.replace_person(element.value, known, pseudonym, is_own) order by element.position), '[]'
                )
                from jsonb_array_elements(content) with ordinality as element (value, position)
            );
        else
            return content;
    end case;
end
$$;

comment on function audit_internal.replace_person(jsonb, text[], text, boolean) is
    'Replaces each text and each key that is one of the names by the pseudonym and, if the row is the person''s own, each member that looks personal.';

create or replace function audit_internal.replace_person_in_member(key text, value jsonb, known text[], pseudonym text, is_own boolean)
returns jsonb
language sql
immutable
as $$
    select case
        when is_own and audit_internal.looks_personal(key) and value not in ('null', '"[redacted]"') then pg_catalog.to_jsonb(pseudonym)
        else audit_internal.replace_person(value, known, pseudonym, is_own)
    end
$$;

comment on function audit_internal.replace_person_in_member(text, jsonb, text[], text, boolean) is
    'audit_internal.replace_person() for a member of an object.';

create or replace function audit_internal.replace_person_in_column(key text, value jsonb, known text[], pseudonym text, is_own boolean)
returns jsonb
language plpgsql
immutable
as $$
begin
    return audit_internal.replace_person_in_member(key, value, known, pseudonym, is_own);
exception
    when statement_too_complex then
        -- Nested hundreds of levels deep: all of it is replaced, if any of it has to be.
        return case when is_own or audit_internal.contains_name(value::text, known) then pg_catalog.to_jsonb(pseudonym) else value end;
end
$$;

comment on function audit_internal.replace_person_in_column(text, jsonb, text[], text, boolean) is
    'audit_internal.replace_person() for a column. A value that is nested too deeply is replaced whole, if it mentions the person or the row is their own.';

create or replace function audit_internal.replace_person_in_row(content jsonb, known text[], pseudonym text, is_own boolean)
returns jsonb
language sql
immutable
as $$
    select case pg_catalog.jsonb_typeof(content)
        when 'object' then coalesce(
            (
                select pg_catalog.jsonb_object_agg(
                    member.key, audit_internal.replace_person_in_column(member.key, member.value, known, pseudonym, is_own)
                )
                from pg_catalog.jsonb_each(content) as member
            ),
            '{}'
        )
        else audit_internal.replace_person(content, known, pseudonym, is_own)
    end
$$;

comment on function audit_internal.replace_person_in_row(jsonb, text[], text, boolean) is
    'audit_internal.replace_person() for a row, whose keys are columns and stay.';

create or replace function audit_internal.replace_person_in_label(label text, known text[], pseudonym text)
returns text
language sql
immutable
strict
as $$
    -- (By part, since audit_internal.joined_label() may have joined them.)
    select case
        when label = any (known) then pseudonym
        else (
            select pg_catalog.string_agg(case when part = any (known) then pseudonym else part end, ' → ' order by number)
            from pg_catalog.string_to_table(label, ' → ') with ordinality as piece (part, number)
        )
    end
$$;

comment on function audit_internal.replace_person_in_label(text, text[], text) is
    'Replaces a label, or each of its parts, that is one of the names by the pseudonym.';
