-- What must not be in the log: which names are those of secrets.
-- Names are compared as the C locale has it, whatever the database's: in Turkish lower('PIN') is `pın`.

create or replace function audit_internal.words_of(column_name text)
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

comment on function audit_internal.words_of(text) is
    'A column''s name with its words in lower case and an underscore between them: `passwordHash`, "Password Hash" and `password_hash` are one; `DBPass` is `db_pass`. What is no Latin letter is between words.';

create or replace function audit_internal.is_token_counter(words text)
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

comment on function audit_internal.is_token_counter(text) is
    'Whether the words of a name tell how many tokens of a language model there are, or what they cost: `max_tokens`, `tokens_used`, `cost_per_token`.';

create or replace function audit_internal.is_address_with_secret(words text)
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

comment on function audit_internal.is_address_with_secret(text) is
    'Whether the words of a name are those of an address that has a password in it, or is one: `database_url`, `redis_uri`, `slack_webhook`.';

create or replace function audit_internal.secret_stems()
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

comment on function audit_internal.secret_stems() is
    'What the words of every secret have in them, as patterns for LIKE: a name without any of these is no secret''s.';

create or replace function audit_internal.is_secret_words(words text, is_member boolean default false)
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
    if words collate "C" not like all (audit_internal.secret_stems()) then
        return false;
    elsif audit_internal.is_address_with_secret(words) or words collate "C" ~ '(^|_)(access_key_id|secret_id)$' then
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
            and not audit_internal.is_token_counter(words)
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

comment on function audit_internal.is_secret_words(text, boolean) is
    'Whether words (audit_internal.words_of()) name a secret: the one list for columns, for members of JSON, and for rows of settings. For members it goes further: any `…_key`, `key`, `signature`, `certificate`, `callback_vars`.';

create or replace function audit_internal.looks_secret(column_name text, type_oid oid default 'pg_catalog.text'::pg_catalog.regtype)
returns boolean
language plpgsql
stable
strict
parallel safe
as $$
declare
    words constant text collate "C" := audit_internal.words_of(column_name);
    type record;
begin
    if words not like all (audit_internal.secret_stems()) then
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
                or words ~ '_codes?$' and audit_internal.is_secret_words(words)
        when type_oid = 'pg_catalog.uuid'::pg_catalog.regtype and words ~ '_ids?$' then false
        else audit_internal.is_secret_words(words)
            or type_oid = 'pg_catalog.bytea'::pg_catalog.regtype and words ~ '(^|_)keys?$' and audit_internal.is_secret_words(words, is_member => true)
    end;
end
$$;

comment on function audit_internal.looks_secret(text, oid) is
    'Whether a column of this name and type is redacted unless audit.track(reveal => …) says otherwise. A boolean, a time or an enum is no secret; a number only if it is a PIN, a one-time code or the like.';

create or replace function audit_internal.looks_secret_within(member_name text)
returns boolean
language plpgsql
immutable
strict
parallel safe
as $$
begin
    return audit_internal.is_secret_words(audit_internal.words_of(member_name), is_member => true);
end
$$;

comment on function audit_internal.looks_secret_within(text) is
    'Whether the member of a JSON value with this name is redacted by a path that has `?`, or where no settings say so.';

create or replace function audit_internal.is_name_of_secret(name text)
returns boolean
language plpgsql
immutable
parallel safe
as $$
declare
    words constant text := audit_internal.words_of(pg_catalog.left(name, 200));
begin
    return coalesce(
        audit_internal.is_secret_words(words, is_member => true)
            -- A word may be a path's: `auth:client-secret`, `limits.max/password`.
            or audit_internal.is_secret_words(audit_internal.words_of(pg_catalog.substring(pg_catalog.left(name, 200) collate "C", '[^./:]+$')), is_member => true),
        false
    );
end
$$;

comment on function audit_internal.is_name_of_secret(text) is
    'Whether the name in a row of settings says that its value is a secret: `smtp.password`, `payment_stripe_secret_key`, `SENTRY_DSN`. Of a long text, the first 200 characters.';
