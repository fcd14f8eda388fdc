-- Texts, and the strings in JSON, without what is secret in them by its form.

create or replace function audit_internal.is_name_of_one_secret(content text)
returns boolean
language sql
immutable
strict
parallel safe
as $$
    select coalesce(pg_catalog.bool_or(number > 1000 or audit_internal.looks_secret_within(name)), false)
    from (
        select name, pg_catalog.row_number() over () as number
        from (
            select distinct pg_catalog.rtrim(piece, E'\\') as name
            from (
                select piece, pg_catalog.lead(piece) over (order by position) as behind
                from pg_catalog.string_to_table(content, '"') with ordinality as split (piece, position)
            ) as pieces
            where pg_catalog.length(piece) < 200
                and pg_catalog.starts_with(pg_catalog.ltrim(behind, E' \t\r\n'), ':')
                and audit_internal.may_name_secret(piece)
            offset 0
        ) as names
    ) as numbered
$$;

comment on function audit_internal.is_name_of_one_secret(text) is
    'Whether a text that is not quite JSON has a name in it that looks secret: in quotation marks, with a colon behind.';

create or replace function audit_internal.json_without_secrets(content text)
returns text
language plpgsql
immutable
strict
as $$
declare
    parsed jsonb;
    cleaned text;
begin
    begin
        parsed := content::jsonb;
    exception
        when data_exception then
            return case when audit_internal.is_name_of_one_secret(content) then '[redacted]' end;
    end;
    cleaned := audit_internal.redact_text(parsed::text, '{**,?}', true);
    -- (A name may be a secret, too.)
    return pg_catalog.regexp_replace(
        case when cleaned::jsonb <> parsed then cleaned else content end collate "C", audit_internal.credential_pattern(), '[redacted]', 'g'
    );
exception
    -- Nested too deep, or too large for the server to look through.
    when program_limit_exceeded or out_of_memory or internal_error then
        return '[redacted]';
end
$$;

comment on function audit_internal.json_without_secrets(text) is
    'A text that begins as JSON does, without its secrets: in a text that jsonb can''t hold, or that is cut off, a secret''s name hides all. Null: it is no JSON.';

create or replace function audit_internal.addresses_without_secrets(content text)
returns text
language plpgsql
immutable
strict
as $$
declare
    -- (Encoded where the whole address is a parameter of another.)
    before_name constant text := '(?:[?&#;]|%3F|%26|%23)';
    behind_name constant text := '(?:=|%3D)';
    letter constant text := '[][A-Za-z0-9_.~+-]';
    max_names constant integer := 100;
    names text[];
    result text collate "C" := content;
begin
    if content collate "C" ~ '[?&#;%]' then
        names := array(
            select distinct parameter[1]
            from pg_catalog.regexp_matches(result, pg_catalog.concat(before_name, '(', letter, '{1,100})', behind_name), 'gi') as parameter
            limit max_names + 1
        );
        if pg_catalog.cardinality(names) > max_names then
            names := array[letter || '+'];
        else
            names := array(
                select pg_catalog.regexp_replace(name, '([].~+[-])', E'\\\\\\1', 'g')
                from pg_catalog.unnest(names) as name
                where pg_catalog.lower(name collate "C") in ('sig', 'hmac', 'sid', 'session_id', 'sessionid', 'jsessionid', 'phpsessid') or audit_internal.is_name_of_secret(pg_catalog.replace(name, ']', ''))
            );
        end if;
        if pg_catalog.cardinality(names) > 0 then
            result := pg_catalog.regexp_replace(
                result,
                pg_catalog.concat('(', before_name, '(?:', pg_catalog.array_to_string(names, '|'), ')', behind_name, ')(?:[^&#;%"<>[:space:]]|%(?!26|23))+'),
                E'\\1[redacted]', 'gi'
            );
        end if;
        -- (A code of a country is none.)
        result := pg_catalog.regexp_replace(result, E'([?&]code=)[^&#;"<>[:space:]]{16,}', E'\\1[redacted]', 'gi');
    end if;
    return pg_catalog.regexp_replace(
        result,
        '(://(?:hooks[.]slack[.]com/(?:services|workflows|triggers)/|(?:[a-z]+[.])?discord(?:app)?[.]com/api/(?:v[0-9]+/)?webhooks/|outlook[.]office(?:365)?[.]com/webhook/'
            || '|[a-z0-9-]+[.]webhook[.]office[.]com/webhookb2/|hooks[.]zapier[.]com/hooks/catch/|api[.]telegram[.]org/(?:file/)?bot|maker[.]ifttt[.]com/trigger/[^/[:space:]]+/(?:json/)?with/key/'
            || '|events[.]pagerduty[.]com/integration/|[^/"<>[:space:]]+/hooks/(?=[A-Za-z0-9]{20})))[^?#"<>[:space:]]+',
        E'\\1[redacted]', 'gi'
    );
end
$$;

comment on function audit_internal.addresses_without_secrets(text) is
    'The text with "[redacted]" in place of secrets in web addresses: parameters whose name looks secret (`?token=…`, `#access_token=…`), and the path of webhooks that is a secret itself (`hooks.slack.com/services/…`).';

create or replace function audit_internal.text_without_secrets(content text)
returns text
language plpgsql
immutable
strict
as $$
declare
    max_bytes constant integer := 10000000;
    result text collate "C" := content;
begin
    if not audit_internal.may_hold_secret_value(content) then
        return content;
    elsif pg_catalog.octet_length(content) > max_bytes then
        return '[redacted]';
    elsif result ~ '^[[:space:]]*[[{"]' then
        result := audit_internal.json_without_secrets(content);
        if result is not null then
            return result;
        end if;
        result := content;
    elsif pg_catalog.strpos(result, '"') > 0 and audit_internal.is_name_of_one_secret(content) then
        return '[redacted]';
    end if;
    if audit_internal.may_hold_credential(result) then
        result := pg_catalog.regexp_replace(result, audit_internal.credential_pattern(), '[redacted]', 'g');
    end if;
    if pg_catalog.strpos(result, '://') > 0 then
        result := pg_catalog.regexp_replace(result, '(://[^/[:space:]:]*:)[^/[:space:]]+@', E'\\1[redacted]@', 'g');
        result := pg_catalog.regexp_replace(result, '://[A-Za-z0-9_-]{20,}@', '://[redacted]@', 'g');
    end if;
    if pg_catalog.strpos(result, '=') > 0 then
        result := pg_catalog.regexp_replace(
            result,
            E'((?:password|passwd|passphrase|pwd|secret|token|api_?key|(?:access|account)_?key|[?&]sig(?:nature)?)=)(?:''(?:[^''\\\\]|\\\\.)*''|"[^"]*"|[{][^}]*[}]|[^[:space:]&;"''<>]+)',
            E'\\1[redacted]', 'gi'
        );
    end if;
    if pg_catalog.strpos(result, '://') > 0 or pg_catalog.strpos(result, '?') > 0 then
        result := audit_internal.addresses_without_secrets(result);
    end if;
    return result;
end
$$;

comment on function audit_internal.text_without_secrets(text) is
    'The text with "[redacted]" in place of what is secret in it: members of JSON, passwords and tokens in URLs (`postgres://u:[redacted]@h/db`, `?token=[redacted]`) and connection strings (`password=…`), credentials by their form. What can''t be looked through, or is more than 10 MB, is hidden as a whole.';

create or replace function audit_internal.string_without_secrets(string text)
returns text
language plpgsql
immutable
strict
as $$
declare
    decoded constant text := audit_internal.unmark_string(string);
    cleaned constant text := audit_internal.text_without_secrets(decoded);
begin
    if cleaned = decoded then
        return string;
    end if;
    return audit_internal.mark_strings(pg_catalog.regexp_replace(pg_catalog.to_jsonb(cleaned)::text, '^"|"$', '', 'g'));
end
$$;

comment on function audit_internal.string_without_secrets(text) is 'audit_internal.text_without_secrets() for one string of a marked text.';

create or replace function audit_internal.without_secrets(content jsonb)
returns jsonb
language sql
immutable
strict
as $$
    select case
        when audit_internal.may_name_secret(content::text) or audit_internal.may_hold_secret_string(content::text)
            then coalesce(audit_internal.redact_text(content::text, '{**,?}', true)::jsonb, content)
        else content
    end
$$;

comment on function audit_internal.without_secrets(jsonb) is
    'The value with "[redacted]" in place of whatever looks secret in it, by its name or by its form, at any depth, also in a text that is JSON.';

create or replace function audit_internal.strings_without_secrets(content jsonb)
returns jsonb
language plpgsql
immutable
strict
as $$
declare
    max_json_strings constant integer := 1000;
    parts text[];
    json_strings integer := 0;
    is_json boolean;
begin
    -- Strings, names among them, at even numbers.
    parts := pg_catalog.string_to_array(audit_internal.mark_strings(content::text), '"');
    for part in 2..pg_catalog.cardinality(parts) by 2 loop
        is_json := pg_catalog.strpos(parts[part], E'\x02') > 0;
        continue when not is_json and not audit_internal.may_hold_secret_string(parts[part]);
        json_strings := json_strings + is_json::integer;
        parts[part] := case when json_strings > max_json_strings then '[redacted]' else audit_internal.string_without_secrets(parts[part]) end;
    end loop;
    return pg_catalog.replace(pg_catalog.replace(pg_catalog.array_to_string(parts, '"'), E'\x02', E'\\"'), E'\x01', E'\\\\')::jsonb;
end
$$;

comment on function audit_internal.strings_without_secrets(jsonb) is
    'A JSON value with each of its strings as audit_internal.text_without_secrets() has it, whatever the name before it: names are judged by paths.';

create or replace function audit_internal.without_secrets(recorded jsonb, columns text[])
returns jsonb
language plpgsql
immutable
strict
as $$
declare
    name text;
    value jsonb;
begin
    foreach name in array columns loop
        value := recorded -> name;
        if pg_catalog.jsonb_typeof(value) = 'string' then
            continue when not audit_internal.may_hold_secret_value(value #>> '{}');
            value := pg_catalog.to_jsonb(audit_internal.text_without_secrets(value #>> '{}'));
        elsif pg_catalog.jsonb_typeof(value) in ('object', 'array') then
            continue when not audit_internal.may_hold_secret_string(value::text) and pg_catalog.strpos(value::text, E'\\"') = 0;
            begin
                value := audit_internal.strings_without_secrets(value);
            exception
                when program_limit_exceeded or out_of_memory or internal_error then
                    value := '"[redacted]"';
            end;
        end if;
        if value <> recorded -> name then
            recorded := pg_catalog.jsonb_set(recorded, array[name], value);
        end if;
    end loop;
    return recorded;
end
$$;

comment on function audit_internal.without_secrets(jsonb, text[]) is
    'A recorded row with the members named in columns as audit_internal.text_without_secrets() has them, JSON in each of its strings. Where audit_internal.may_hold_secret_value() says false of its texts, nothing changes.';

create or replace function audit_internal.id_without_secret(id text)
returns text
language plpgsql
immutable
strict
as $$
begin
    if audit_internal.may_hold_secret_value(id) and audit_internal.text_without_secrets(id) <> id then
        return pg_catalog.encode(pg_catalog.sha256(pg_catalog.convert_to(id, 'UTF8')), 'hex');
    end if;
    return id;
end
$$;

comment on function audit_internal.id_without_secret(text) is
    'A key as it is; one that is a secret by its form, or has one in it, as its SHA-256 in hex, which still tells rows apart.';
