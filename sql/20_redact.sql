-- What must not be in the log.

create or replace function audit.words_of(column_name text)
returns text
language sql
immutable
strict
parallel safe
as $$
    select pg_catalog.lower(
        pg_catalog.regexp_replace(
            pg_catalog.regexp_replace(column_name, '([a-z0-9])([A-Z])', '\1_\2', 'g'), '[^[:alnum:]]+', '_', 'g'
        )
    )
$$;

comment on function audit.words_of(text) is
    'A column''s name with its words in lower case and an underscore between them: `passwordHash`, "Password Hash" and `password_hash` are one.';

create or replace function audit.looks_secret(column_name text)
returns boolean
language sql
immutable
strict
parallel safe
as $$
    select audit.words_of(column_name)
        ~ '(^|_)(password|passwd|passphrase|pwd|secret|secrets|token|hash|salt|private_key|credential|credentials|otp|cvv)(_|$)'
        or audit.words_of(column_name)
            ~ '(^|_)(api_?key|(access|signing|encryption|license|master)_key|jwt|totp|mfa_seed|recovery_codes?|authorization|bearer|cookie|dsn|connection_string|ssn)$|^pin$'
$$;

comment on function audit.looks_secret(text) is
    'Whether a column of this name is redacted unless audit.track(reveal => …) says otherwise.';

create or replace function audit.looks_secret_within(member_name text)
returns boolean
language plpgsql
immutable
strict
parallel safe
as $$
declare
    words text := audit.words_of(member_name);
begin
    -- Prices by the token, and what only says which secret, of what kind or where, stay.
    return (
            audit.looks_secret(member_name)
            or words ~ '(^|_)(api_?keys?|\w+_keys?(_id)?|key_value|auth|authorization|bearer|cookies?|jwt|headers|callback_vars|connection_string|dsn|signature|certificate|pass|pin|cvc)(_|$)|^keys?$'
        )
        and words !~ '(_per_token(_|$)|_(alias|type|url|endpoint|method|limit)$)'
        or words ~ '(^|_)(database|webhook)_url$';
end
$$;

comment on function audit.looks_secret_within(text) is
    'Whether the member of a JSON value with this name is redacted by a path that has `?`, or where no settings say so: as audit.looks_secret(), and what JSON settings call secrets besides (`api_key`, `headers`, `database_url`).';

create or replace function audit.value_looks_secret(value text)
returns boolean
language sql
immutable
strict
parallel safe
as $$
    select value ~ '(^|[^[:alnum:]])(sk-[[:alnum:]_-]{8}|eyJ[[:alnum:]_-]{8,}[.]|-----BEGIN [A-Z ]*PRIVATE KEY)|^(Bearer|Basic) |://[^/[:space:]@]*:[^/[:space:]@]+@'
        or value ~ '^(sk|pk|rk|ghp|gho|xox[bap]|glpat)[-_][A-Za-z0-9_-]{12,}$|^AKIA[A-Z0-9]{12,}$|^\$(2[aby]|argon2\w*|pbkdf2\w*|scrypt)\$|^(pbkdf2_|bcrypt|scrypt)\w*\$|^[0-9a-f]{40,128}$'
$$;

comment on function audit.value_looks_secret(text) is
    'Whether a value is a secret by its form: an API key (`sk-…`, `ghp_…`), a JSON Web Token, a private key, the hash of a password or a token, a password in a URL.';

create or replace function audit.may_name_secret(content text)
returns boolean
language sql
immutable
parallel safe
as $$
    -- The beginnings of all that audit.looks_secret_within() looks for; and JSON within a string: a quotation mark before a
    -- bracket or white space, or anything that is escaped. (LIKE, since for a short text a regular expression costs twice as
    -- much; and not strict, though it is: the planner would not see through an OR.)
    select pg_catalog.lower(content) like any (array[
            '%pass%', '%pin%', '%cvc%', '%cvv%', '%pwd%', '%secret%', '%token%', '%hash%', '%salt%', '%key%', '%credential%',
            '%otp%', '%auth%', '%bearer%', '%cookie%', '%jwt%', '%dsn%', '%connection%', '%headers%', '%callback%', '%seed%',
            '%recovery%', '%ssn%', '%signature%', '%certificate%', '%database%', '%webhook%',
            '%"{%', '%"[%', '%" %', '%\\%'
        ])
        or (pg_catalog.octet_length(content) > pg_catalog.length(content) and content ~ '"[[:space:]]*[[{]')
$$;

comment on function audit.may_name_secret(text) is
    'A quick look at the text of a JSON value: false where no member''s name looks secret to audit.looks_secret_within(), and no string may be JSON itself: where audit.redact() would change nothing by the path `**.?`.';

create or replace function audit.may_hold_secret(content text)
returns boolean
language sql
immutable
parallel safe
as $$
    -- The beginnings of all that audit.value_looks_secret() looks for.
    select audit.may_name_secret(content)
        or content ~* 'sk-|(sk|pk|rk|ghp|gho|xox[bap]|glpat)[-_]|akia|eyj|private|basic|://|[$]|[0-9a-f]{40}'
$$;

comment on function audit.may_hold_secret(text) is
    'A quick look at the text of a JSON value: false where neither a name in it looks secret nor audit.value_looks_secret() finds anything.';

create or replace function audit.redact(value jsonb, path text[])
returns jsonb
language plpgsql
immutable
strict
parallel safe
as $$
declare
    at_any_depth boolean := path[1] = '**';
begin
    if path in ('{}', '{**}') then
        return case pg_catalog.jsonb_typeof(value) when 'null' then value else '"[redacted]"' end;
    end if;

    case pg_catalog.jsonb_typeof(value)
        when 'object' then
            if at_any_depth then
                value := audit.redact(value, path[2:]);
            end if;
            return (
                select coalesce(
                    pg_catalog.jsonb_object_agg(
                        member.key,
                        case
                            when at_any_depth then audit.redact(member.value, path)
                            when path[1] in ('*', member.key) then audit.redact(member.value, path[2:])
                            when path[1] = '?' and audit.looks_secret_within(member.key) then audit.redact(member.value, path[2:])
                            else member.value
                        end
                    ),
                    '{}'
                )
                from pg_catalog.jsonb_each(value) as member
            );
        when 'array' then
            -- A path that does not mention the array means each of its elements.
            return (
                select coalesce(
                    pg_catalog.jsonb_agg(
                        audit.redact(element.value, case path[1] when '*' then path[2:] else path end)
                        order by element.position
                    ),
                    '[]'
                )
                from pg_catalog.jsonb_array_elements(value) with ordinality as element (value, position)
            );
        when 'string' then
            -- Where a path expects something to descend into, a string may be JSON text: the safe side.
            return case
                when at_any_depth and value #>> '{}' !~ '^[[:space:]]*[[{"]' then value
                else '"[redacted]"'
            end;
        else
            return value;
    end case;
end
$$;

comment on function audit.redact(jsonb, text[]) is
    'The value with what stands at the path replaced by "[redacted]" (null stays null). In the path `*` is any key or element, `?` any key that looks secret by its name, `**` any number of elements: `**.api_key` is every member of that name, however deep, `**.?` every one that looks secret.';

create or replace function audit.redacted(value jsonb, path text[])
returns jsonb
language plpgsql
immutable
strict
as $$
begin
    -- Most values have nothing of the kind, and that is soon said.
    if path = '{**,?}' and not audit.may_name_secret(value::text) then
        return value;
    end if;
    begin
        return audit.redact(value, path);
    exception
        -- Nested deeper than the stack is: the write goes on, and what can't be looked through is hidden.
        when statement_too_complex then
            return '"[redacted]"';
    end;
end
$$;

comment on function audit.redacted(jsonb, text[]) is
    'audit.redact() for a whole column: a value that is nested too deep for it, some hundreds of levels, is redacted as a whole.';

create or replace function audit.column_of_path(path text, columns text[])
returns text
language sql
immutable
parallel safe
as $$
    -- A column's own name may have dots.
    select name
    from pg_catalog.unnest(columns) as name
    where path = name or pg_catalog.starts_with(path, name || '.')
    order by pg_catalog.length(name) desc
    limit 1
$$;

comment on function audit.column_of_path(text, text[]) is 'Which of the columns a path in audit.tracked_table.secret is, or leads into; null: none.';

create or replace function audit.looks_personal(column_name text)
returns boolean
language sql
immutable
strict
parallel safe
as $$
    select audit.words_of(column_name)
        ~ '(^|_)(e_?mail|(full|first|last|given|family|middle|user|display)_?name|nick_?name|surname|phone|mobile|avatar|photo|picture|birth_?(day|date)|date_of_birth|street|postal_?code|zip_?code|home_address|ip_address)(_|$)|(^|_)ip$'
$$;

comment on function audit.looks_personal(text) is
    'Whether a column of this name tells of a person: audit.erase_actor() replaces what stands in it.';

create or replace function audit.tells_of_a_person(relation regclass)
returns boolean
language sql
stable
as $$
    select exists (
        select
        from pg_catalog.pg_attribute
        where attrelid = relation and attnum > 0 and not attisdropped and audit.looks_personal(attname)
    )
$$;

comment on function audit.tells_of_a_person(regclass) is 'Whether a table has a column that looks personal by its name.';
