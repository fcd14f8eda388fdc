-- Which values are secrets by their form, quick looks that say whether a text may hold one, and paths into JSON.

create or replace function audit_internal.credential_pattern()
returns text
language sql
immutable
parallel safe
as $$
    -- (What each begins with stands in audit_internal.may_hold_credential(), too. An application shows its users the first eight letters of a key.)
    select E'-----BEGIN [A-Z0-9 ]*PRIVATE KEY[A-Z ]*-----(?:[^-]|-[^-])*(?:-----END [A-Z0-9 ]*PRIVATE KEY[A-Z ]*-----)?'
        || '|(?<![A-Za-z0-9])(?:sk-[A-Za-z0-9_-]{12,}|[spr]k_live_[A-Za-z0-9]{8,}|ghp_[A-Za-z0-9]{12,}|github_pat_[A-Za-z0-9_]{12,}|glpat-[A-Za-z0-9_-]{12,}'
        || '|xox[abeoprs]-[A-Za-z0-9-]{10,}|AKIA[A-Z0-9]{12,}|eyJ[A-Za-z0-9_-]{8,}[.][A-Za-z0-9_.-]*)'
$$;

comment on function audit_internal.credential_pattern() is
    'A regular expression for credentials that can''t be anything else: a private key (PEM), an API key (`sk-…`, `sk_live_…`, `ghp_…`, `AKIA…`), a JSON Web Token.';

create or replace function audit_internal.may_hold_credential(content text, or_what_is_like text[] default '{}')
returns boolean
language sql
stable
parallel safe
as $$
    -- (Inlined where content is a variable or a column. LIKE, of bytes: each of these takes some 1,000 instructions for 200 bytes of
    -- text, audit_internal.credential_pattern() over 100,000 for all. Rows of keys show the beginning of one, `sk-0c3f9a21`: so its length is
    -- looked at, which is a third of what a regular expression takes.)
    select pg_catalog.convert_to(content, pg_catalog.getdatabaseencoding()) like any (
            (
                array[
                    '%PRIVATE KEY%', '%k_live_%', '%ghp_%', '%github_pat_%', '%glpat-%', '%xox%', '%AKIA%', '%eyJ%', '%sk-%sk-%'
                ] || or_what_is_like
            )::bytea[]
        )
        or pg_catalog.length(pg_catalog.split_part(pg_catalog.split_part(content collate "C", 'sk-', 2), ' ', 1)) >= 12
$$;

comment on function audit_internal.may_hold_credential(text, text[]) is
    'A quick look at a text: false where audit_internal.credential_pattern() finds nothing in it, and it is like none of the patterns.';

create or replace function audit_internal.may_hold_secret_string(content text)
returns boolean
language sql
stable
parallel safe
as $$
    select audit_internal.may_hold_credential(content, array['%://%', '%=%'])
$$;

comment on function audit_internal.may_hold_secret_string(text) is
    'A quick look at a text that is not JSON, or at strings in JSON that are not: false where audit_internal.text_without_secrets() would change nothing.';

create or replace function audit_internal.may_hold_secret_value(content text)
returns boolean
language sql
stable
parallel safe
as $$
    -- (A backslash: JSON in a string of JSON. Two for what bytea reads, two for LIKE.)
    select audit_internal.may_hold_credential(content, array['%://%', '%=%', '%"%', E'%\\\\\\\\%'])
$$;

comment on function audit_internal.may_hold_secret_value(text) is
    'A quick look at a row''s texts, one behind the other, JSON without its quotation marks: false where audit_internal.without_secrets() would change none of them.';

create or replace function audit_internal.value_looks_secret(value text)
returns boolean
language sql
immutable
strict
parallel safe
as $$
    select value collate "C" ~ audit_internal.credential_pattern()
        or value collate "C" ~ '^(Bearer|Basic) |://[^/[:space:]:]*:[^/[:space:]]+@'
        or value collate "C" ~ E'^(sk|pk|rk|ghp|gho|xox[bap]|glpat)[-_][A-Za-z0-9_-]{12,}$|^\\$(2[aby]|argon2\\w*|pbkdf2\\w*|scrypt)\\$|^(pbkdf2_|bcrypt|scrypt)\\w*\\$|^[0-9a-f]{40,128}$'
$$;

comment on function audit_internal.value_looks_secret(text) is
    'Whether a value is a secret by its form, or most likely one: an API key (`sk-…`, `ghp_…`), a JSON Web Token, a private key, the hash of a password or a token, a password in a URL.';

create or replace function audit_internal.value_looks_random(value text)
returns boolean
language sql
immutable
strict
parallel safe
as $$
    select audit_internal.value_looks_secret(value)
        or pg_catalog.length(value) between 16 and 300
            and value collate "C" ~ '^[A-Za-z0-9_.~+/=-]+$'
            -- An id, a time, an address or a version is no secret.
            and value collate "C" !~ '^[0-9A-Fa-f]{8}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{12}$|^[0-9]{4}-?[0-9]{2}-?[0-9]{2}T|^[0-9]{4}-[0-9]{2}-[0-9]{2}|^[0-9.+_-]+$|^v?[0-9]+[.][0-9]+[.]'
            and (
                -- Letters, small and capital, and digits in turns, as no words have them.
                select classes ~ '[aA]' and classes ~ '0'
                    and 10 * (pg_catalog.length(pg_catalog.regexp_replace(classes, E'(.)\\1+', E'\\1', 'g')) - 1)
                        > case when classes ~ 'A' and classes ~ 'a' then 3 else 1.25 end * pg_catalog.length(classes)
                from (
                    select pg_catalog.regexp_replace(pg_catalog.regexp_replace(pg_catalog.regexp_replace(pg_catalog.regexp_replace(
                        value collate "C", '[^A-Za-z0-9]', '', 'g'), '[A-Z]', 'A', 'g'), '[a-z]', 'a', 'g'), '[0-9]', '0', 'g')
                ) as bare (classes)
            )
            and (select pg_catalog.count(distinct letter) from pg_catalog.string_to_table(value, null) as letter) >= 8
$$;

comment on function audit_internal.value_looks_random(text) is
    'Whether a value that ought to be a name or a code is a secret by its form, or drawn by lot: 16 letters and more, digits among them everywhere; not a UUID, a time or a version.';

create or replace function audit_internal.may_name_secret(content text)
returns boolean
language sql
stable
parallel safe
as $$
    -- The stems of all that audit_internal.looks_secret_within() looks for; and JSON within a string: a quotation mark before a
    -- bracket or white space, or anything that is escaped. (LIKE, since for a short text a regular expression costs twice as
    -- much; and of bytes, which it goes through faster than through characters.)
    select pg_catalog.convert_to(pg_catalog.lower(content collate "C"), pg_catalog.getdatabaseencoding()) like any (
        (
            audit_internal.secret_stems()
            -- (Four backslashes: two for what bytea reads, two for LIKE.)
            || array['%"{%', '%"[%', '%" %', E'%\\\\\\\\%']
            -- White space beyond ASCII, in UTF-8: U+0085, U+00A0, U+1680, U+2000 to U+202F, U+205F, U+3000, U+FEFF.
            || array[
                E'%"\\302\\205%', E'%"\\302\\240%', E'%"\\341\\232\\200%', E'%"\\342\\200%', E'%"\\342\\201\\237%', E'%"\\343\\200\\200%',
                E'%"\\357\\273\\277%'
            ]
        )::bytea[]
    )
$$;

comment on function audit_internal.may_name_secret(text) is
    'A quick look at the text of a JSON value: false where no member''s name looks secret to audit_internal.looks_secret_within(), and no string may be JSON itself: where audit_internal.redact() would change nothing by the path `**.?`.';

create or replace function audit_internal.mark_strings(content text)
returns text
language sql
immutable
strict
parallel safe
as $$
    select pg_catalog.replace(pg_catalog.replace(content, E'\\\\', E'\x01'), E'\\"', E'\x02')
$$;

comment on function audit_internal.mark_strings(text) is
    'The text of a jsonb value with control characters, of which it has none, for the escapes `\\` and `\"`: each `"` that is left begins or ends a string.';

create or replace function audit_internal.unmark_string(string text)
returns text
language sql
immutable
strict
parallel safe
as $$
    select case
        when string !~ E'[\\\\\x01\x02]' then string
        else ('"' || pg_catalog.replace(pg_catalog.replace(string, E'\x02', E'\\"'), E'\x01', E'\\\\') || '"')::jsonb #>> '{}'
    end
$$;

comment on function audit_internal.unmark_string(text) is 'The value of a string in a marked text.';

create or replace function audit_internal.secret_names(marked text)
returns jsonb
language sql
immutable
strict
parallel safe
as $$
    select coalesce(pg_catalog.jsonb_object_agg(name, true), '{}')
    from (
        select name, pg_catalog.count(*) over () as names
        from (
            -- A name stands before each `": `. (A string that begins with `: ` gives a few signs, which look like no secret.)
            select distinct pg_catalog.split_part(piece, '"', -1) as name
            from pg_catalog.unnest(pg_catalog.string_to_array(marked, '": ')) as piece
            offset 0
        ) as given
        where audit_internal.may_name_secret(name)
    ) as suspected
    -- Of thousands that are no setting's names but data, none is judged.
    where names > 1000 or audit_internal.looks_secret_within(audit_internal.unmark_string(name))
$$;

comment on function audit_internal.secret_names(text) is
    'The names of members in a marked text that look secret, as an object. Each is judged once.';

create or replace function audit_internal.path_steps(path text[])
returns text[]
language plpgsql
immutable
strict
parallel safe
as $$
declare
    steps text[] := '{}';
begin
    for number in 1..pg_catalog.cardinality(path) loop
        -- `**.**` is `**`; and a value is redacted with all that is below it: `a.**` is `a`.
        continue when path[number] = '**' and coalesce(path[number + 1], '**') = '**';
        steps := steps || case
            when path[number] in ('*', '**', '?') then path[number]
            else audit_internal.mark_strings(pg_catalog.regexp_replace(pg_catalog.to_jsonb(path[number])::text, '^"|"$', '', 'g'))
        end;
    end loop;
    return steps;
end
$$;

comment on function audit_internal.path_steps(text[]) is 'The steps of a path, names as they stand in a marked text.';

create or replace function audit_internal.match_path_members(steps text[], place integer, in_array boolean, out any_name integer, out by_name integer)
language plpgsql
immutable
strict
parallel safe
as $$
begin
    any_name := 0;
    by_name := 0;
    for number in 1..pg_catalog.cardinality(steps) loop
        continue when place & (1 << number - 1) = 0;
        if steps[number] = '**' then
            any_name := any_name | (1 << number - 1);
            -- It may be no element at all.
            if not in_array or steps[number + 1] = '*' then
                place := place | (1 << number);
            end if;
        elsif steps[number] = '*' then
            any_name := any_name | (1 << number);
        elsif in_array then
            -- A path that does not mention the array means each of its elements.
            any_name := any_name | (1 << number - 1);
        else
            by_name := by_name | (1 << number - 1);
        end if;
    end loop;
end
$$;

comment on function audit_internal.match_path_members(text[], integer, boolean) is
    'Where in the path the members of an object, or the elements of an array, are that is itself at `place`: whatever they are called; and the places whose step names one. Places are bits, since `**` may stand for more or less; the bit behind the last step: to be redacted.';
