-- What must not be in the log.

-- Words ----------------------------------------------------------------------------------------------------------------
-- Names are compared as the C locale has it, whatever the database's: in Turkish lower('PIN') is `pın`.

create or replace function audit.words_of(column_name text)
returns text
language sql
immutable
strict
parallel safe
as $$
    select pg_catalog.lower(
        pg_catalog.regexp_replace(
            case
                when column_name collate "C" ~ '[A-Z]' then pg_catalog.regexp_replace(
                    pg_catalog.regexp_replace(column_name collate "C", '([A-Z])([A-Z][a-z]{2})', E'\\1_\\2', 'g'), '([a-z0-9])([A-Z])', E'\\1_\\2', 'g'
                )
                else column_name
            end collate "C",
            '[^A-Za-z0-9]+', '_', 'g'
        ) collate "C"
    )
$$;

comment on function audit.words_of(text) is
    'A column''s name with its words in lower case and an underscore between them: `passwordHash`, "Password Hash" and `password_hash` are one; `DBPass` is `db_pass`. What is no Latin letter is between words.';

create or replace function audit.counts_tokens(words text)
returns boolean
language sql
immutable
strict
parallel safe
as $$
    -- Tokens of a language model, not of a login: one step from the word where it may be of either, anywhere behind `max` and its like.
    select words collate "C" ~ (E'(^|_)((max|min|maximum|minimum|total|sum|avg|average|mean|median|num|number|count|n|limit|budget|quota)_(\\w+_)?'
            || '|prompt_|completion_|input_|output_|cached?_|(re)?write_|read_|creation_|reasoning_|thinking_|prediction_|predicted_|audio_|image_|video_|text_'
            || '|vision_|context_|window_|embedding_|rerank_|tool_|system_|message_|response_|request_|generated_|generation_|streamed_|batch_|special_|stop_|new_'
            || '|daily_|weekly_|monthly_|yearly_|hourly_|today_|used_|unused_|usage_|remaining_|available_|spent_|saved_|consumed_|billed_|billable_|paid_|free_|estimated_|expected_'
            || ')tokens(_|$)')
        or words collate "C" ~ ('(^|_)tokens?_(used|usage|use|count|counts|counter|counted|consumed|consumption|spent|saved|remaining|left|available|limit|limits|budget|quota'
            || '|total|sum|avg|average|max|min|cost|costs|price|prices|pricing|spend|rate|per|in|out|window|ids)(_|$)')
        or words collate "C" ~ E'(^|_)per_(\\w+_)?tokens?(_|$)|(^|_)(eos|bos|pad|unk|sep|cls|stop|special)_tokens?(_ids?)?$'
$$;

comment on function audit.counts_tokens(text) is
    'Whether the words of a name tell how many tokens of a language model there are, or what they cost: `max_tokens`, `tokens_used`, `cost_per_token`.';

create or replace function audit.is_address_with_secret(words text)
returns boolean
language sql
immutable
strict
parallel safe
as $$
    select words collate "C" like any ('{%url%,%uri%,%dsn%}')
            and words collate "C" ~ ('(^|_)(database|db|pg|postgres|postgresql|mysql|mariadb|mssql|sqlserver|oracle|mongo|mongodb|redis|valkey|memcached?|amqps?|rabbit|rabbitmq|kafka|nats|mqtt'
                || '|celery|broker|jdbc|odbc|sqlalchemy|clickhouse|snowflake|elastic|elasticsearch|opensearch|influx|influxdb|cassandra|neo4j|ldaps?|smtps?|imaps?|s?ftp|mail|mailer|email'
                || E'|connection|conn|(web_?)?hooks?|slack|discord|sas|(pre_?)?signed|magic|https?_proxy|proxy)_?(ur[li]s?|dsns?)([0-9]+|_(\\d+|old|new|previous|current|primary|secondary|replica|backup))*$')
        or words collate "C" like '%hook%' and words collate "C" ~ '(^|_)(?!(has|is|use|enable|send|on)_)[a-z0-9]+_web_?hooks?$'
$$;

comment on function audit.is_address_with_secret(text) is
    'Whether the words of a name are those of an address that has a password in it, or is one: `database_url`, `redis_uri`, `slack_webhook`.';

create or replace function audit.secret_stems()
returns text[]
language sql
immutable
parallel safe
as $$
    select array[
        '%pass%', '%pw%', '%secret%', '%token%', '%hash%', '%salt%', '%key%', '%cred%', '%otp%', '%cvv%', '%cvc%', '%pin%', '%auth%', '%bearer%',
        '%cookie%', '%jwt%', '%dsn%', '%conn%', '%code%', '%seed%', '%mnemonic%', '%ssn%', '%card%', '%pem%', '%psk%', '%csrf%', '%xsrf%', '%kube%', '%pfx%',
        '%p12%', '%crypt%', '%cipher%', '%b64%', '%header%', '%callback%', '%signature%', '%certificate%', '%hook%', '%url%', '%uri%', '%magic%', '%session%', '%service%'
    ]
$$;

comment on function audit.secret_stems() is
    'What the words of every secret have in them, as patterns for LIKE: a name without any of these is no secret''s.';

create or replace function audit.is_secret_words(words text, is_member boolean default false)
returns boolean
language plpgsql
immutable
strict
parallel safe
as $$
declare
    -- Which of several it is, or in what form.
    variant constant text collate "C" := E'([0-9]+|_(\\d+|old|new|previous|prev|current|next|primary|secondary|value|values|data|encrypted|enc|ciphertext|plain|plaintext|raw|text|string|prod|production|test|live|staging|sandbox|dev|backup|b64|base64|pem|hash|digest|hashed|expected))*$';
    said text collate "C";
begin
    if words collate "C" not like all (audit.secret_stems()) then
        return false;
    elsif audit.is_address_with_secret(words) or words collate "C" ~ '(^|_)(access_key_id|secret_id)$' then
        return true;
    -- What only says which secret, of what kind, where or since when. (Any other word behind leaves it one.)
    elsif words collate "C" ~ ('_(at|on|by|time|date|timestamp|expires?|expiry|expires_(in|at)|expiration|ttl|lifetime|duration|timeout|interval|period|days?|hours?|minutes?|min|max|seconds?|secs|ms'
            || '|count|counter|total|limit|length|len|size|bits|bytes|rounds|iterations|cost|attempts|retries|type|types|kind|method|methods|mode|format|algorithm|algo|alg|version|status|state'
            || '|enabled|disabled|required|optional|allowed|supported|verified|ur[li]s?|endpoints?|host|hostname|port|paths?|dir|filename|names?|alias|aliases|label|title|description'
            || '|prefix|suffix|policy|provider|issuer|audience|scopes?|roles?|owner|profile|info|ids?|ref|reference|arn|category|position|order|domain|samesite|strength|template|usage'
            || '|source|env|var|field|column|attribute|param|placeholder|tooltip|message|error|last_?(4|four)|preview|masked|fingerprint)$'
            || '|(^|_)(key|token|secret)s?_hint$|^(has|is|needs?|requires?|allows?|must|can|should|shows?|hides?|skips?|supports?|num|number|max|min)_|_per_token(_|$)')
    then
        return false;
    end if;
    -- Words that are of no secret where these stand beside them.
    said := pg_catalog.regexp_replace(
        words collate "C",
        '(^|_)((primary|foreign|public|publishable|sort|partition|unique|site|object|cache|idempotency|translation|locale|i18n|natural|surrogate|issue|feature|flag|setting|config|option|shortcut|hot)_?keys?'
        || '|passwords?_(policy|policies|rules?|requirements?|resets?(?!_(codes?|keys?|otp|pin)(_|$))|change|rotation|recovery|complexity|validators?|validation|login|age)'
        || '|(content|file|commit|git|image|body|blob|document|source|schema|query|row|tx|transaction|block|avatar|media|url|path|perceptual|config|build|tree|prompt)_hash(es)?'
        || '|secrets?_(manager|store|engine|backend|provider|scanning|rotation)|tokens?_(endpoint|introspection|revocation|rotation|exchange|store|format)|credentials?_(provider|store|helper)'
        || '|authorization_(server|model|amount)|(two|multi|2)_?factor_auth|(boarding|season|ski|bus|day|guest|event|hall|first|second|third|last|multi|single|one|two|by|is|has|did|must|tests?)_pass)(?=_|$)',
        '_', 'g'
    );
    return said ~ ('(^|_)([a-z0-9]*(password|passwd|passphrase|passcode|secret)s?|pwds?|hash|hashes|salts?|[a-z0-9]*private_?keys?|credentials?|creds?|otps?|cvv|cvc'
                || '|authorization|bearer|encrypted|ciphertext)[0-9]*(_|$)')
        or said like '%token%'
            and said ~ ('(^|_)(auth|oauth|access|refresh|api|bearer|session|csrf|xsrf|csrfmiddleware|id|reset|device|push|bot|user|service|secret|jwt|sas|app|admin|client|deploy|login|remember'
                || '|invite|verification|verify|confirmation|activation|webhook|personal)?tokens?[0-9]*(_|$)')
            and not audit.counts_tokens(words)
        or said ~ ('(^|_)('
                || '(api|access|account|signing|signature|enc|encrypt|encrypting|encryption|hashed|decrypt|decryption|crypt|licen[cs]e|master|root|secret|shared|pre_?shared|symmetric|ssh|ssl|tls|cert|certificate|gpg|pgp|rsa|hmac|aes|cipher|kms|otp|totp|mfa'
                || '|jwt|jwe|vapid|wireguard|wg|smtp|deploy|deployment|admin|server|client|consumer|webhook|app|application|auth|session|subscription|ingest|ingestion|integration|instrumentation|write|recovery'
                || '|activation|confirmation|verification|reset|unlock|data_encryption|service_role|service_account|openai|anthropic|azure|aws|gcp|stripe|sendgrid|mailgun|twilio)_?keys?'
                || '|key_(pem|material|secret)|key_?(tab|store)|kube_?config|code_verifier|service_account_json|session_data|psk|pem|pfx|p12|[a-z0-9_]+_b64'
                || '|((db|database|smtp|ftp|sftp|imap|pop3|mail|email|user|admin|root|auth|basic|http|proxy|redis|pg|my|mysql|ldap|bind|ssh|vpn|wifi|key|cert|rabbitmq)_?)?(pass|pw)|pass_?(phrase|word|wort|code|wd)s?|mot_de_passe'
                || '|jwts?|totp|(mfa|totp|otp)_seed|seed_phrase|mnemonic|((basic|http)_?)?auth|(auth|authorization|custom|extra|request|default|http|static)_headers?|headers|cookies?|dsns?|conn(ection)?_?str(ing)?s?|ssn|(csrf|xsrf)'
                || '|(recovery|backup|scratch|verification|verify|reset|confirmation|confirm|activation|authorization|auth|access|security|sms|login|unlock|pairing|device|user|invite|invitation|registration|one_time|mfa|2fa|totp|pin|passcode)_codes?'
                || '|(credit_?card|card|cc)_(number|num|no)|magic_link'
                || ')' || variant)
        or said like '%pin%'
            and said ~ '(^|(card|user|atm|sim|debit|security|access|login|unlock|device|admin|account|customer|employee)_)pins?$'
        -- What settings in JSON call so is a secret; a column called so seldom is (a label, a signature below letters).
        or is_member
            and said ~ '(^|_)([a-z0-9_]+_keys?|key_value|callback_vars|signature|certificate|pins?|pass)(_id|_value|_data)?$|^keys?$';
end
$$;

comment on function audit.is_secret_words(text, boolean) is
    'Whether words (audit.words_of()) name a secret: the one list for columns, for members of JSON, and for rows of settings. For members it goes further: any `…_key`, `key`, `signature`, `certificate`, `callback_vars`.';

create or replace function audit.looks_secret(column_name text, type_oid oid default 'pg_catalog.text'::pg_catalog.regtype)
returns boolean
language plpgsql
stable
strict
parallel safe
as $$
declare
    words constant text collate "C" := audit.words_of(column_name);
    type record;
begin
    if words not like all (audit.secret_stems()) then
        return false;
    end if;
    loop
        select typtype, typcategory, typbasetype, typelem into type from pg_catalog.pg_type where pg_type.oid = type_oid;
        exit when type.typtype is distinct from 'd' and type.typcategory is distinct from 'A';
        type_oid := case type.typtype when 'd' then type.typbasetype else type.typelem end;
    end loop;
    return case
        when type.typcategory in ('B', 'D', 'T', 'E', 'R', 'I', 'G') then false
        -- Numbers count, or tell which row of another table.
        when type.typcategory = 'N' then words ~ '(^|_)((pin|otp|cvv|cvc)[0-9]?|totp|ssn|passcode|password|passwd|pwd|secret|token|[a-z0-9]+_token|(card|cc)_(number|num|no)|(pin|otp)_code)$'
                or words ~ '_codes?$' and audit.is_secret_words(words)
        when type_oid = 'pg_catalog.uuid'::pg_catalog.regtype and words ~ '_ids?$' then false
        else audit.is_secret_words(words)
            or type_oid = 'pg_catalog.bytea'::pg_catalog.regtype and words ~ '(^|_)keys?$' and audit.is_secret_words(words, is_member => true)
    end;
end
$$;

comment on function audit.looks_secret(text, oid) is
    'Whether a column of this name and type is redacted unless audit.track(reveal => …) says otherwise. A boolean, a time or an enum is no secret; a number only if it is a PIN, a one-time code or the like.';

create or replace function audit.looks_secret_within(member_name text)
returns boolean
language plpgsql
immutable
strict
parallel safe
as $$
begin
    return audit.is_secret_words(audit.words_of(member_name), is_member => true);
end
$$;

comment on function audit.looks_secret_within(text) is
    'Whether the member of a JSON value with this name is redacted by a path that has `?`, or where no settings say so.';

create or replace function audit.names_secret(name text)
returns boolean
language plpgsql
immutable
parallel safe
as $$
declare
    words constant text := audit.words_of(pg_catalog.left(name, 200));
begin
    return coalesce(
        audit.is_secret_words(words, is_member => true)
            -- A word may be a path's: `auth:client-secret`, `limits.max/password`.
            or audit.is_secret_words(audit.words_of(pg_catalog.substring(pg_catalog.left(name, 200) collate "C", '[^./:]+$')), is_member => true),
        false
    );
end
$$;

comment on function audit.names_secret(text) is
    'Whether the name in a row of settings says that its value is a secret: `smtp.password`, `payment_stripe_secret_key`, `SENTRY_DSN`. Of a long text, the first 200 characters.';

-- Values ---------------------------------------------------------------------------------------------------------------

create or replace function audit.credential_form()
returns text
language sql
immutable
parallel safe
as $$
    -- (What each begins with stands in audit.may_hold_credential(), too. An application shows its users the first eight letters of a key.)
    select E'-----BEGIN [A-Z0-9 ]*PRIVATE KEY[A-Z ]*-----(?:[^-]|-[^-])*(?:-----END [A-Z0-9 ]*PRIVATE KEY[A-Z ]*-----)?'
        || '|(?<![A-Za-z0-9])(?:sk-[A-Za-z0-9_-]{12,}|[spr]k_live_[A-Za-z0-9]{8,}|ghp_[A-Za-z0-9]{12,}|github_pat_[A-Za-z0-9_]{12,}|glpat-[A-Za-z0-9_-]{12,}'
        || '|xox[abeoprs]-[A-Za-z0-9-]{10,}|AKIA[A-Z0-9]{12,}|eyJ[A-Za-z0-9_-]{8,}[.][A-Za-z0-9_.-]*)'
$$;

comment on function audit.credential_form() is
    'A regular expression for credentials that can''t be anything else: a private key (PEM), an API key (`sk-…`, `sk_live_…`, `ghp_…`, `AKIA…`), a JSON Web Token.';

create or replace function audit.may_hold_credential(content text, or_what_is_like text[] default '{}')
returns boolean
language sql
stable
parallel safe
as $$
    -- (Inlined where content is a variable or a column. LIKE, of bytes: each of these takes some 1,000 instructions for 200 bytes of
    -- text, audit.credential_form() over 100,000 for all. Rows of keys show the beginning of one, `sk-0c3f9a21`: so its length is
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

comment on function audit.may_hold_credential(text, text[]) is
    'A quick look at a text: false where audit.credential_form() finds nothing in it, and it is like none of the patterns.';

create or replace function audit.may_hold_secret_string(content text)
returns boolean
language sql
stable
parallel safe
as $$
    select audit.may_hold_credential(content, array['%://%', '%=%'])
$$;

comment on function audit.may_hold_secret_string(text) is
    'A quick look at a text that is not JSON, or at strings in JSON that are not: false where audit.text_without_secrets() would change nothing.';

create or replace function audit.may_hold_secret_value(content text)
returns boolean
language sql
stable
parallel safe
as $$
    -- (A backslash: JSON in a string of JSON. Two for what bytea reads, two for LIKE.)
    select audit.may_hold_credential(content, array['%://%', '%=%', '%"%', E'%\\\\\\\\%'])
$$;

comment on function audit.may_hold_secret_value(text) is
    'A quick look at a row''s texts, one behind the other, JSON without its quotation marks: false where audit.without_secrets() would change none of them.';

create or replace function audit.value_looks_secret(value text)
returns boolean
language sql
immutable
strict
parallel safe
as $$
    select value collate "C" ~ audit.credential_form()
        or value collate "C" ~ '^(Bearer|Basic) |://[^/[:space:]:]*:[^/[:space:]]+@'
        or value collate "C" ~ E'^(sk|pk|rk|ghp|gho|xox[bap]|glpat)[-_][A-Za-z0-9_-]{12,}$|^\\$(2[aby]|argon2\\w*|pbkdf2\\w*|scrypt)\\$|^(pbkdf2_|bcrypt|scrypt)\\w*\\$|^[0-9a-f]{40,128}$'
$$;

comment on function audit.value_looks_secret(text) is
    'Whether a value is a secret by its form, or most likely one: an API key (`sk-…`, `ghp_…`), a JSON Web Token, a private key, the hash of a password or a token, a password in a URL.';

create or replace function audit.value_looks_random(value text)
returns boolean
language sql
immutable
strict
parallel safe
as $$
    select audit.value_looks_secret(value)
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

comment on function audit.value_looks_random(text) is
    'Whether a value that ought to be a name or a code is a secret by its form, or drawn by lot: 16 letters and more, digits among them everywhere; not a UUID, a time or a version.';

create or replace function audit.may_name_secret(content text)
returns boolean
language sql
stable
parallel safe
as $$
    -- The stems of all that audit.looks_secret_within() looks for; and JSON within a string: a quotation mark before a
    -- bracket or white space, or anything that is escaped. (LIKE, since for a short text a regular expression costs twice as
    -- much; and of bytes, which it goes through faster than through characters.)
    select pg_catalog.convert_to(pg_catalog.lower(content collate "C"), pg_catalog.getdatabaseencoding()) like any (
        (
            audit.secret_stems()
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

comment on function audit.may_name_secret(text) is
    'A quick look at the text of a JSON value: false where no member''s name looks secret to audit.looks_secret_within(), and no string may be JSON itself: where audit.redact() would change nothing by the path `**.?`.';

create or replace function audit.marked(content text)
returns text
language sql
immutable
strict
parallel safe
as $$
    select pg_catalog.replace(pg_catalog.replace(content, E'\\\\', E'\x01'), E'\\"', E'\x02')
$$;

comment on function audit.marked(text) is
    'The text of a jsonb value with control characters, of which it has none, for the escapes `\\` and `\"`: each `"` that is left begins or ends a string.';

create or replace function audit.unmarked(string text)
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

comment on function audit.unmarked(text) is 'The value of a string in a marked text.';

create or replace function audit.secret_names(marked text)
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
        where audit.may_name_secret(name)
    ) as suspected
    -- Of thousands that are no setting's names but data, none is judged.
    where names > 1000 or audit.looks_secret_within(audit.unmarked(name))
$$;

comment on function audit.secret_names(text) is
    'The names of members in a marked text that look secret, as an object. Each is judged once.';

create or replace function audit.path_steps(path text[])
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
            else audit.marked(pg_catalog.regexp_replace(pg_catalog.to_jsonb(path[number])::text, '^"|"$', '', 'g'))
        end;
    end loop;
    return steps;
end
$$;

comment on function audit.path_steps(text[]) is 'The steps of a path, names as they stand in a marked text.';

create or replace function audit.places_of_members(steps text[], place integer, in_array boolean, out any_name integer, out by_name integer)
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

comment on function audit.places_of_members(text[], integer, boolean) is
    'Where in the path the members of an object, or the elements of an array, are that is itself at `place`: whatever they are called; and the places whose step names one. Places are bits, since `**` may stand for more or less; the bit behind the last step: to be redacted.';

create or replace function audit.redact_text(content text, path text[], by_form boolean default false)
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
    steps constant text[] := audit.path_steps(path);
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
    -- What audit.places_of_members() has said.
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
    content := audit.marked(content);
    for number in 1..last_step loop
        if steps[number] = '**' then
            undemanding := undemanding | (1 << number - 1);
        elsif steps[number] = '?' and secret_names = '{}' then
            secret_names := audit.secret_names(content);
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
                        from audit.places_of_members(steps, place, in_array) as members;
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
        elsif by_form and (pg_catalog.strpos(parts[part + 1], E'\x02') > 0 or audit.may_hold_secret_string(parts[part + 1])) then
            is_changed := true;
            if parts[part + 1] collate "C" ~ ('^' || json_in_string) then
                json_strings := json_strings + 1;
                if json_strings > max_json_strings then
                    parts[part + 1] := '[redacted]';
                    continue;
                end if;
            end if;
            parts[part + 1] := audit.string_without_secrets(parts[part + 1]);
        end if;
    end loop;
    if is_changed then
        return pg_catalog.replace(pg_catalog.replace(pg_catalog.array_to_string(parts, '"'), E'\x02', E'\\"'), E'\x01', E'\\\\');
    end if;
    return null;
end
$$;

comment on function audit.redact_text(text, text[], boolean) is
    'audit.redact() from the text of a jsonb value to another; null: there is nothing to redact. In one pass, so that it takes time in proportion to the text, whatever is in it. With by_form strings are judged by audit.string_without_secrets(), too, also up to 1,000 that are JSON.';

create or replace function audit.redact(value jsonb, path text[])
returns jsonb
language sql
immutable
strict
parallel safe
as $$
    select coalesce(audit.redact_text(value::text, path)::jsonb, value)
$$;

comment on function audit.redact(jsonb, text[]) is
    'The value with what stands at the path replaced by "[redacted]" (null stays null). In the path `*` is any key or element, `?` any key that looks secret by its name, `**` any number of elements: `**.api_key` is every member of that name, however deep, `**.?` every one that looks secret. A value nested deeper than 1,000 levels, or a path of more than 12 steps, redacts the whole.';

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
        -- A write that is deep in the stack already: it goes on, and the value is hidden.
        when statement_too_complex then
            return '"[redacted]"';
    end;
end
$$;

comment on function audit.redacted(jsonb, text[]) is
    'audit.redact() for a whole column, which fails no write.';

create or replace function audit.names_one_secret(content text)
returns boolean
language sql
immutable
strict
parallel safe
as $$
    select coalesce(pg_catalog.bool_or(number > 1000 or audit.looks_secret_within(name)), false)
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
                and audit.may_name_secret(piece)
            offset 0
        ) as names
    ) as numbered
$$;

comment on function audit.names_one_secret(text) is
    'Whether a text that is not quite JSON has a name in it that looks secret: in quotation marks, with a colon behind.';

create or replace function audit.json_without_secrets(content text)
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
            return case when audit.names_one_secret(content) then '[redacted]' end;
    end;
    cleaned := audit.redact_text(parsed::text, '{**,?}', true);
    -- (A name may be a secret, too.)
    return pg_catalog.regexp_replace(
        case when cleaned::jsonb <> parsed then cleaned else content end collate "C", audit.credential_form(), '[redacted]', 'g'
    );
exception
    -- Nested too deep, or too large for the server to look through.
    when program_limit_exceeded or out_of_memory or internal_error then
        return '[redacted]';
end
$$;

comment on function audit.json_without_secrets(text) is
    'A text that begins as JSON does, without its secrets: in a text that jsonb can''t hold, or that is cut off, a secret''s name hides all. Null: it is no JSON.';

create or replace function audit.addresses_without_secrets(content text)
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
                where pg_catalog.lower(name collate "C") in ('sig', 'hmac', 'sid', 'session_id', 'sessionid', 'jsessionid', 'phpsessid') or audit.names_secret(pg_catalog.replace(name, ']', ''))
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

comment on function audit.addresses_without_secrets(text) is
    'The text with "[redacted]" in place of secrets in web addresses: parameters whose name looks secret (`?token=…`, `#access_token=…`), and the path of webhooks that is a secret itself (`hooks.slack.com/services/…`).';

create or replace function audit.text_without_secrets(content text)
returns text
language plpgsql
immutable
strict
as $$
declare
    max_bytes constant integer := 10000000;
    result text collate "C" := content;
begin
    if not audit.may_hold_secret_value(content) then
        return content;
    elsif pg_catalog.octet_length(content) > max_bytes then
        return '[redacted]';
    elsif result ~ '^[[:space:]]*[[{"]' then
        result := audit.json_without_secrets(content);
        if result is not null then
            return result;
        end if;
        result := content;
    elsif pg_catalog.strpos(result, '"') > 0 and audit.names_one_secret(content) then
        return '[redacted]';
    end if;
    if audit.may_hold_credential(result) then
        result := pg_catalog.regexp_replace(result, audit.credential_form(), '[redacted]', 'g');
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
        result := audit.addresses_without_secrets(result);
    end if;
    return result;
end
$$;

comment on function audit.text_without_secrets(text) is
    'The text with "[redacted]" in place of what is secret in it: members of JSON, passwords and tokens in URLs (`postgres://u:[redacted]@h/db`, `?token=[redacted]`) and connection strings (`password=…`), credentials by their form. What can''t be looked through, or is more than 10 MB, is hidden as a whole.';

create or replace function audit.string_without_secrets(string text)
returns text
language plpgsql
immutable
strict
as $$
declare
    told constant text := audit.unmarked(string);
    cleaned constant text := audit.text_without_secrets(told);
begin
    if cleaned = told then
        return string;
    end if;
    return audit.marked(pg_catalog.regexp_replace(pg_catalog.to_jsonb(cleaned)::text, '^"|"$', '', 'g'));
end
$$;

comment on function audit.string_without_secrets(text) is 'audit.text_without_secrets() for one string of a marked text.';

create or replace function audit.without_secrets(content jsonb)
returns jsonb
language sql
immutable
strict
as $$
    select case
        when audit.may_name_secret(content::text) or audit.may_hold_secret_string(content::text)
            then coalesce(audit.redact_text(content::text, '{**,?}', true)::jsonb, content)
        else content
    end
$$;

comment on function audit.without_secrets(jsonb) is
    'The value with "[redacted]" in place of whatever looks secret in it, by its name or by its form, at any depth, also in a text that is JSON.';

create or replace function audit.strings_without_secrets(content jsonb)
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
    parts := pg_catalog.string_to_array(audit.marked(content::text), '"');
    for part in 2..pg_catalog.cardinality(parts) by 2 loop
        is_json := pg_catalog.strpos(parts[part], E'\x02') > 0;
        continue when not is_json and not audit.may_hold_secret_string(parts[part]);
        json_strings := json_strings + is_json::integer;
        parts[part] := case when json_strings > max_json_strings then '[redacted]' else audit.string_without_secrets(parts[part]) end;
    end loop;
    return pg_catalog.replace(pg_catalog.replace(pg_catalog.array_to_string(parts, '"'), E'\x02', E'\\"'), E'\x01', E'\\\\')::jsonb;
end
$$;

comment on function audit.strings_without_secrets(jsonb) is
    'A JSON value with each of its strings as audit.text_without_secrets() has it, whatever the name before it: names are judged by paths.';

create or replace function audit.without_secrets(recorded jsonb, columns text[])
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
            continue when not audit.may_hold_secret_value(value #>> '{}');
            value := pg_catalog.to_jsonb(audit.text_without_secrets(value #>> '{}'));
        elsif pg_catalog.jsonb_typeof(value) in ('object', 'array') then
            continue when not audit.may_hold_secret_string(value::text) and pg_catalog.strpos(value::text, E'\\"') = 0;
            begin
                value := audit.strings_without_secrets(value);
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

comment on function audit.without_secrets(jsonb, text[]) is
    'A recorded row with the members named in columns as audit.text_without_secrets() has them, JSON in each of its strings. Where audit.may_hold_secret_value() says false of its texts, nothing changes.';

create or replace function audit.id_without_secret(id text)
returns text
language plpgsql
immutable
strict
as $$
begin
    if audit.may_hold_secret_value(id) and audit.text_without_secrets(id) <> id then
        return pg_catalog.encode(pg_catalog.sha256(pg_catalog.convert_to(id, 'UTF8')), 'hex');
    end if;
    return id;
end
$$;

comment on function audit.id_without_secret(text) is
    'A key as it is; one that is a secret by its form, or has one in it, as its SHA-256 in hex, which still tells rows apart.';

create or replace function audit.column_of_path(path text, columns text[])
returns text
language sql
immutable
parallel safe
as $$
    -- A column's own name may have dots.
    select name
    from pg_catalog.unnest(columns) as name
    where path = name or pg_catalog.starts_with(path, name || '.') or pg_catalog.starts_with(path, name || ' when ')
    order by pg_catalog.length(name) desc
    limit 1
$$;

comment on function audit.column_of_path(text, text[]) is 'Which of the columns an entry of audit.tracked_table.secret is (`name`), leads into (`name.path`), or hides in some rows (`name when other`); null: none.';

create or replace function audit.is_secret_or_holds_one(column_name text, secret text[])
returns boolean
language sql
immutable
parallel safe
as $$
    select coalesce(
        pg_catalog.bool_or(
            path = column_name or pg_catalog.starts_with(path, column_name || '.') or pg_catalog.starts_with(path, column_name || ' when ')
        ),
        false
    )
    from pg_catalog.unnest(secret) as path
$$;

comment on function audit.is_secret_or_holds_one(text, text[]) is
    'Whether a column is among the paths of audit.tracked_table.secret, or one of them leads into it.';

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
