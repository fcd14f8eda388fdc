-- Redacting what stands at a path in a JSON value.

create or replace function audit_internal.redact_text(content text, path text[], by_form boolean default false)
returns text
language plpgsql
immutable
strict
parallel safe
as $$
declare
    max_depth constant integer := 1000;
    max_steps constant integer := 12;
    max_json_strings constant integer := 1000;
    literal constant text := '0123456789+-.eEtrufalsn';
    -- (White space of any kind, as it is in every locale.)
    json_in_string constant text := E'([[:space:]\\u0085\\u00a0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000\\ufeff]|\\\\[nrtf])*[[{\x02]';
    steps constant text[] := audit_internal.path_steps(path);
    last_step constant integer := pg_catalog.cardinality(steps);
    reached constant integer := 1 << last_step;
    undemanding integer := 0;
    secret_names jsonb := '{}';
    names jsonb := '{}';
    may_hold_json boolean;
    json_strings integer := 0;
    parts text[];
    last_part integer;
    structure text;
    signs text[];
    -- The container that is being read.
    in_array boolean := true;
    any_name integer := 1;
    by_name integer := 0;
    -- Those that it is in.
    depth integer := 0;
    outer_in_array boolean[] := '{}';
    outer_any_name integer[] := '{}';
    outer_by_name integer[] := '{}';
    -- What audit_internal.match_path_members() has said.
    known_any_name integer[] := '{}';
    known_by_name integer[] := '{}';
    known integer;
    place integer := 0;
    hidden_depth integer := 0;
    closes integer;
    begins_hidden boolean;
    is_edited boolean;
    is_changed boolean := false;
begin
    if last_step = 0 then
        return case content when 'null' then null else '"[redacted]"' end;
    elsif last_step > max_steps then
        return '"[redacted]"';
    end if;
    content := audit_internal.mark_strings(content);
    for number in 1..last_step loop
        if steps[number] = '**' then
            undemanding := undemanding | (1 << number - 1);
        elsif steps[number] = '?' and secret_names = '{}' then
            secret_names := audit_internal.secret_names(content);
            names := names || secret_names;
        elsif steps[number] <> '*' then
            names := names || pg_catalog.jsonb_build_object(steps[number], true);
        end if;
    end loop;
    -- (Behind a quotation mark that ends a string stands none of these.)
    may_hold_json := content collate "C" ~ ('"' || json_in_string);
    -- Most values have nothing of the kind.
    if not may_hold_json
        and not by_form
        and steps[1] = '**'
        and (
            steps[2] = '?' and secret_names = '{}'
            or steps[2] not in ('*', '?') and pg_catalog.strpos(content, '"' || steps[2] || '": ') = 0
        )
    then
        return null;
    end if;

    -- Strings at even numbers, at odd ones what is between them.
    parts := pg_catalog.string_to_array(content, '"');
    last_part := pg_catalog.cardinality(parts);
    for part in 1..last_part by 2 loop
        structure := parts[part];
        if hidden_depth > 0 then
            closes := pg_catalog.length(structure) - pg_catalog.length(pg_catalog.translate(structure, ']}', ''));
            if closes < hidden_depth then
                hidden_depth := hidden_depth - closes
                    + pg_catalog.length(structure) - pg_catalog.length(pg_catalog.translate(structure, '[{', ''));
                parts[part] := null;
                parts[part + 1] := null;
                continue;
            end if;
        elsif structure = ', ' then
            continue when not in_array;
        elsif structure = '}, {' and outer_in_array[depth] then
            -- The next object is where the last one was.
            continue;
        elsif pg_catalog.starts_with(structure, ':') then
            place := any_name;
            if by_name <> 0 and names ? parts[part - 1] then
                for number in 1..last_step loop
                    if by_name & (1 << number - 1) <> 0
                        and (steps[number] = parts[part - 1] or steps[number] = '?' and secret_names ? parts[part - 1])
                    then
                        place := place | (1 << number);
                    end if;
                end loop;
            end if;
            continue when place & reached = 0 and case pg_catalog.ltrim(structure, ': ' || literal)
                when ', ' then true
                when '}, {' then outer_in_array[depth]
                else false
            end;
        end if;

        if structure not in (': ', ', ') then
            -- Numbers and the like count only where they may be redacted, or follow what is.
            if hidden_depth > 0 or steps[last_step] = '*' or place & reached <> 0 then
                signs := pg_catalog.string_to_array(
                    pg_catalog.replace(pg_catalog.replace(pg_catalog.replace(pg_catalog.replace(pg_catalog.replace(
                        structure, '{', '{ '), '[', '[ '), '}', ' } '), ']', ' ] '), ',', ' ,'),
                    ' '
                );
            else
                signs := pg_catalog.string_to_array(pg_catalog.translate(structure, ':, ' || literal, ''), null);
            end if;
            begins_hidden := false;
            is_edited := hidden_depth > 0;
            for number in 1..pg_catalog.cardinality(signs) loop
                if hidden_depth > 0 then
                    hidden_depth := hidden_depth + case
                        when signs[number] in ('{', '[') then 1
                        when signs[number] in ('}', ']') then -1
                        else 0
                    end;
                    signs[number] := case when begins_hidden and hidden_depth = 0 then '"' end;
                elsif signs[number] in ('}', ']') then
                    in_array := outer_in_array[depth];
                    any_name := outer_any_name[depth];
                    by_name := outer_by_name[depth];
                    depth := depth - 1;
                elsif signs[number] in ('', ':', ',', 'null') then
                    null;
                elsif (case when in_array then any_name else place end) & reached <> 0 then
                    is_edited := true;
                    if signs[number] in ('{', '[') then
                        hidden_depth := 1;
                        begins_hidden := true;
                        signs[number] := '"[redacted]';
                    else
                        signs[number] := '"[redacted]"';
                    end if;
                elsif signs[number] in ('{', '[') then
                    depth := depth + 1;
                    if depth > max_depth then
                        return '"[redacted]"';
                    end if;
                    outer_in_array[depth] := in_array;
                    outer_any_name[depth] := any_name;
                    outer_by_name[depth] := by_name;
                    place := case when in_array then any_name else place end;
                    in_array := signs[number] = '[';
                    known := 2 * place + in_array::integer + 1;
                    if known_any_name[known] is null then
                        select members.any_name, members.by_name
                        into any_name, by_name
                        from audit_internal.match_path_members(steps, place, in_array) as members;
                        known_any_name[known] := any_name;
                        known_by_name[known] := by_name;
                    end if;
                    any_name := known_any_name[known];
                    by_name := known_by_name[known];
                end if;
            end loop;
            if is_edited then
                is_changed := true;
                parts[part] := case when hidden_depth = 0 or begins_hidden then
                    pg_catalog.replace(pg_catalog.replace(pg_catalog.array_to_string(signs, ''), ',', ', '), ':', ': ')
                end;
            end if;
            if hidden_depth > 0 then
                parts[part + 1] := null;
                continue;
            end if;
            continue when not in_array and pg_catalog.right(structure, 2) <> ': ';
        end if;

        -- The string that follows is a value. Of one that may be JSON itself, or of which more is expected, nothing is shown.
        if in_array then
            place := any_name;
        end if;
        continue when place = 0 or part = last_part;
        if place & ~undemanding <> 0 or may_hold_json and not by_form and parts[part + 1] collate "C" ~ ('^' || json_in_string) then
            parts[part + 1] := '[redacted]';
            is_changed := true;
        elsif by_form and (pg_catalog.strpos(parts[part + 1], E'\x02') > 0 or audit_internal.may_hold_secret_string(parts[part + 1])) then
            is_changed := true;
            if parts[part + 1] collate "C" ~ ('^' || json_in_string) then
                json_strings := json_strings + 1;
                if json_strings > max_json_strings then
                    parts[part + 1] := '[redacted]';
                    continue;
                end if;
            end if;
            parts[part + 1] := audit_internal.string_without_secrets(parts[part + 1]);
        end if;
    end loop;
    if is_changed then
        return pg_catalog.replace(pg_catalog.replace(pg_catalog.array_to_string(parts, '"'), E'\x02', E'\\"'), E'\x01', E'\\\\');
    end if;
    return null;
end
$$;

comment on function audit_internal.redact_text(text, text[], boolean) is
    'audit_internal.redact() from the text of a jsonb value to another; null: there is nothing to redact. In one pass, so that it takes time in proportion to the text, whatever is in it. With by_form strings are judged by audit_internal.string_without_secrets(), too, also up to 1,000 that are JSON.';

create or replace function audit_internal.redact(value jsonb, path text[])
returns jsonb
language sql
immutable
strict
parallel safe
as $$
    select coalesce(audit_internal.redact_text(value::text, path)::jsonb, value)
$$;

comment on function audit_internal.redact(jsonb, text[]) is
    'The value with what stands at the path replaced by "[redacted]" (null stays null). In the path `*` is any key or element, `?` any key that looks secret by its name, `**` any number of elements: `**.api_key` is every member of that name, however deep, `**.?` every one that looks secret. A value nested deeper than 1,000 levels, or a path of more than 12 steps, redacts the whole.';

create or replace function audit_internal.redact_or_null(value jsonb, path text[])
returns jsonb
language plpgsql
immutable
strict
as $$
begin
    -- Most values have nothing of the kind, and that is soon said.
    if path = '{**,?}' and not audit_internal.may_name_secret(value::text) then
        return value;
    end if;
    begin
        return audit_internal.redact(value, path);
    exception
        -- A write that is deep in the stack already: it goes on, and the value is hidden.
        when statement_too_complex then
            return '"[redacted]"';
    end;
end
$$;

comment on function audit_internal.redact_or_null(jsonb, text[]) is
    'audit_internal.redact() for a whole column, which fails no write.';
