-- What a table's words say of its columns, by the catalogue alone: which of them are tokens, and which pairs are settings.
-- audit.track() redacts by this, and pgtrail suggest proposes it.

create or replace function audit_internal.words_of_table(relation regclass)
returns text
language plpgsql
stable
strict
set search_path = pg_catalog, pg_temp
as $$
declare
    part text;
    split text[];
    own text[] := '{}';
begin
    foreach part in array string_to_array((select audit_internal.name_words(relname) from pg_class where oid = relation), '_') loop
        split := string_to_array(audit_internal.split_words(part), '_');
        -- What stands before words that are run together, and is one of them, is the application's name: token_blacklist_outstandingtoken.
        if cardinality(split) > 1
            and exists (select from unnest(own) as before join unnest(split) as word on audit_internal.table_word(word) = audit_internal.table_word(before))
        then
            own := '{}';
        end if;
        own := own || split;
    end loop;
    -- What a word is repeated for in its plural says nothing more: authtoken_token, users_user, teams_team_member.
    return regexp_replace(audit_internal.table_word(array_to_string(own, '_')), E'(^|_)([a-z0-9]+?)s?_\\2(_|$)', E'\\1\\2\\3');
end
$$;

comment on function audit_internal.words_of_table(regclass) is
    'The words of a table''s name, the last one in the singular: those run together are taken apart, and what is said twice is said once.';

create or replace function audit_internal.is_token_table(relation regclass)
returns boolean
language plpgsql
stable
strict
set search_path = pg_catalog, pg_temp
as $$
declare
    words constant text collate "C" := regexp_replace(audit_internal.words_of_table(relation), '_(store|storage|data|record|entry|list|item|blacklist|whitelist|blocklist|allowlist|archive|copy|backup|new|old|[0-9]+)$', '');
    columns constant text[] := array(
        select audit_internal.name_words(attname) from pg_attribute where attrelid = relation and attnum > 0 and not attisdropped
    );
begin
    return
        words ~ ('(^|_)(token|jwt|bearer|otp|totp|hotp|one_time_(code|password|link)|credential|cred|secret|password|passcode|passphrase|pin|passkey|cookie|nonce'
            || '|invite|invitation|invitation_link|invite_link|magic_link|magic_code|share_link|(pre_)?shared_key|vault|key_?store|keyring'
            || '|(api|access|auth|account|secret|signing|encryption|private|service|master|license|licence|webhook|client|server|admin|integration|ingestion|ingest|session|hmac|aes|ssl|tls)_?key'
            || '|(access|auth|authorization|authentication|login|device|verification|confirmation|activation|reset|recovery|backup|invite|invitation|registration|signup|join|pairing|linking|otp|sms|mfa|2fa|oauth|oauth2)_(code|link|request)'
            || '|(email|mail|phone|sms|account|user|signup|registration|password|login)_(verification|confirmation|activation|reset|recovery)'
            || '|verification|password_reset_request|device_authorization|web_?hook|incoming_hook)$')
        or words ~ '(^|_)(otp|totp|hotp|2fa|mfa|u2f|webauthn|static|authenticator|push|auth|oauth2?)_(device|factor|method|seed|key|enrollment|credential|authenticator)$'
        or words ~ E'(^|_)(oauth2?|oidc|auth|authorization|authentication|device|access|client|sso)_(\\w+_)?grant$'
        or words ~ '(^|_)(grant|authorization|challenge|activation|confirmation|reset|registration|registration_profile)$'
            and columns && '{expires,expires_at,expiry,expire_at,expires_on,expires_in,expire_date,expiration,expiration_date,redirect_uri,code_challenge,used_at,consumed_at,activation_key,sent,sent_at}'
        -- A session of logins, not one of a conference or a training.
        or words ~ '(^|_)session$'
            and not columns && '{title,subject,topic,room,room_id,speaker,speakers,starts_at,start_time,start_at,scheduled_at,seats,capacity}'
        or words ~ '(^|_)device$'
            and columns && '{key,secret,secret_key}';
end
$$;

comment on function audit_internal.is_token_table(regclass) is
    'Whether the rows of a table are tokens, keys, passwords, sessions, invitations or the like, by its name and its columns.';

create or replace function audit_internal.tokens_by_name(relation regclass)
returns setof text
language plpgsql
stable
strict
set search_path = pg_catalog, pg_temp
as $$
declare
    words constant text collate "C" := audit_internal.words_of_table(relation);
    bulk constant text := '^(data|payload|content|body|blob|material|ciphertext|sess)$';
    -- Who keeps secrets by their names tells which secret is meant, and what it is.
    by_name constant text := '(^|_)(secret|credential|cred|vault|key_?store|keyring|(secret|credential|vault)_(store|storage|data|item|entry))$';
begin
    if not audit_internal.is_token_table(relation) then
        return;
    end if;
    return query
    with field as materialized (
        select attnum, attname::text as name, audit_internal.name_words(attname) as name_words, audit_internal.type_kind(atttypid) as kind, atttypid, atttypid = 'uuid'::regtype as is_uuid,
            exists (select from pg_constraint where conrelid = relation and contype = 'f' and attnum = any (conkey)) as is_foreign,
            exists (select from pg_constraint where conrelid = relation and contype = 'p' and conkey = array[attnum]) as is_key
        from pg_attribute
        where attrelid = relation and attnum > 0 and not attisdropped
    ),
    likely_token as (
        select attnum, name, field.name_words
        from field
        where not is_foreign
            and (kind in ('text', 'bytes') or is_uuid
                or kind = 'number' and field.name_words ~ '^(code|pin|otp|value|number)$' and words ~ '(otp|passcode|pin|one_time_password|[a-z]_code)$'
                or kind = 'json' and field.name_words ~ '^(value|data|payload|content|sess)s?$' and words !~ '(^|_)(invite|invitation|webhook|device)$')
            and (
                field.name_words ~ '^(key|code|value|number|sid|jti|digest|raw|plain|plaintext|verifier|selector|ticket|pin|session|token|otp|link|url_key|user_code|device_code)$'
                    and not (field.name_words = 'number' and kind <> 'number')
                    and not (words ~ '(^|_)device$' and field.name_words in ('code', 'value', 'link', 'digest'))
                or field.name_words ~ ('^(invite|invitation|access|auth|authorization|login|device|verification|verify|confirm|confirmation|activation|reset|recovery|backup|join|signup|registration'
                    || '|pairing|grant|otp|totp|sms|magic|one_time|refresh|session|sess|webhook|shared?|secret|credential|password|token)_(key|code|value|hash|link|slug|data|material|digest)$')
                or field.name_words ~ '^(slug|identifier|handle)$' and words ~ '(link|invite|invitation|token|session|code|hook)$'
                    -- (An address stands beside a token of its own.)
                    and not exists (select from field as other where other.name_words ~ '(^|_)(token|key|code|hash|secret)$' and other.name <> field.name)
                or field.name_words ~ bulk and words ~ ('(^|_)(session|passkey)$|' || by_name)
            )
            and not (field.name_words = 'key' and words ~ by_name and exists (select from field as other where other.name_words ~ '(^|_)(value|data|content|secret)$'))
    )
    select name
    from (
        select attnum, name from likely_token
        union
        -- Nothing else may be the token.
        select attnum, name
        from field
        where not exists (select from likely_token where likely_token.name_words !~ bulk)
            and not exists (select from field as other where audit_internal.looks_secret(other.name, other.atttypid))
            and kind in ('text', 'bytes')
            and is_key
            and not is_foreign
            and field.name_words ~ E'^(identifier|slug|(\\w+_)?(id|name))$'
            and words ~ '(token|session|otp|passcode|code|cookie|nonce|link|verification|jwt|bearer)$'
    ) as found
    order by attnum;
end
$$;

comment on function audit_internal.tokens_by_name(regclass) is
    'The columns of a table of tokens that hold them, though their names alone say nothing: `key`, `code`, `value`; the key itself where nothing else can be it.';

create or replace function audit_internal.token_columns(relation regclass)
returns setof text
language plpgsql
stable
strict
set search_path = pg_catalog, pg_temp
as $$
begin
    return query
    select attname::text
    from pg_attribute
    where attrelid = relation
        and attnum > 0
        and not attisdropped
        and (
            attname::text in (select audit_internal.tokens_by_name(relation))
            -- What refers to a token has it, too.
            or exists (
                select
                from pg_constraint
                cross join lateral unnest(conkey, confkey) as part (own_number, other_number)
                join pg_attribute as other on other.attrelid = confrelid and other.attnum = part.other_number
                where conrelid = relation
                    and contype = 'f'
                    and part.own_number = pg_attribute.attnum
                    and audit_internal.type_kind(other.atttypid) in ('text', 'bytes')
                    and (audit_internal.looks_secret(other.attname, other.atttypid) or other.attname::text in (select audit_internal.tokens_by_name(confrelid)))
            )
        )
    order by attnum;
end
$$;

comment on function audit_internal.token_columns(regclass) is
    'The columns that hold a token, or refer to one, by what the table is called: `key` of authtoken_token, `code` of oauth_grant. By the catalogue alone; what looks secret by its own name is not among them.';

create or replace function audit_internal.settings_by_name(relation regclass)
returns table (value_column text, name_column text)
language plpgsql
stable
strict
set search_path = pg_catalog, pg_temp
as $$
declare
    is_of_settings constant boolean := audit_internal.is_table_of_settings(audit_internal.words_of_table(relation));
    tokens text[];
begin
    if not exists (
        select from pg_attribute
        where attrelid = relation and attnum > 0 and not attisdropped
            and audit_internal.name_words(attname) ~ 'val|content|data|setting|config|payload|json|text|body|blob|definition'
    ) then
        return;
    end if;
    tokens := array(select audit_internal.token_columns(relation));
    return query
    with field as materialized (
        select attnum, attname::text as name, audit_internal.name_words(attname) as words, audit_internal.type_kind(atttypid) as kind, atttypid,
            exists (select from pg_constraint where conrelid = relation and contype in ('p', 'u') and attnum = any (conkey)) as is_unique,
            exists (select from pg_constraint where conrelid = relation and contype = 'p' and conkey = array[attnum]) as is_key,
            exists (select from pg_constraint where conrelid = relation and contype = 'f' and attnum = any (conkey)) as is_foreign
        from pg_attribute
        where attrelid = relation and attnum > 0 and not attisdropped and attgenerated <> 'v'
    ),
    value_field as (
        select *, regexp_replace(words, '_?(value|val|content|data)s?(_(text|json|jsonb|string|str|raw|encrypted|bytes|blob|binary))?$', '') as kin
        from field
        where kind in ('text', 'json', 'bytes', 'array')
            and not is_foreign
            and not audit_internal.looks_secret(name, atttypid)
            and name <> all (tokens)
            and (
                words ~ E'^(\\w+_)?(value|val)s?(_(text|json|jsonb|string|str|raw|encrypted|bytes|blob|binary|default|old|new|previous))?$'
                or words ~ '^(text|json|jsonb|string|str|raw|bytes|blob|binary|default|old|new)_(value|val)$'
                or is_of_settings and words ~ E'^(\\w+_)?(content|contents|data|setting|config|configuration|payload|json|text|body|blob|definition)$'
            )
    ),
    name_field as (
        select *, regexp_replace(words, '_?(key|name|code|slug|identifier|id)$', '') as kin,
            case
                when words ~ '^(key|keyname|key_name)$' then 1
                when words ~ E'^(\\w+_)?(setting|option|config|param|parameter|variable|var|property|prop|meta|attribute|preference|pref|env|field|header|flag)(_(key|name|code|slug))?$' then 2
                when words ~ E'^(\\w+_)?key$' then 3
                when words = 'name' then 4
                when words ~ '^(identifier|slug|code|path|keyword|entry|item|label|title)$' then 5
                when words ~ '^(config|setting|option|param)_(type|id)$' then 6
                when words ~ E'^(\\w+_)?name$' then 7
                when words = 'id' and is_key then 8
            end as rank
        from field
        where kind = 'text' and name <> all (tokens)
    )
    select distinct on (value_field.attnum) value_field.name, name_field.name
    from value_field
    join name_field on name_field.attnum <> value_field.attnum and name_field.rank is not null
    where is_of_settings
        -- (param_name, param_value)
        or value_field.kin <> '' and value_field.kin = name_field.kin
        or value_field.words ~ E'^(value|val|meta_value)s?(_|$)' and (
            name_field.rank <= 2
            or name_field.rank = 3 and name_field.is_unique
            -- Nothing else that a person reads: a list of names and values.
            or name_field.rank = 4 and not exists (
                select from field
                where field.kind = 'text' and field.words !~ '(^|_)(value|val|name|key|type|kind|scope|section|group|category|namespace|environment|env|description|comment|note|id|by|locale|language)(_|$)'
            )
        )
    order by value_field.attnum, (value_field.kin = name_field.kin and value_field.kin <> '') desc, name_field.rank, name_field.attnum;
end
$$;

comment on function audit_internal.settings_by_name(regclass) is
    'The columns of a table in which settings stand by name, a row each: (key, value), (param_name, param_value). By the catalogue alone. A value is redacted where its name looks secret.';

create or replace function audit_internal.is_table_of_settings(words text)
returns boolean
language plpgsql
immutable
strict
parallel safe
as $$
begin
    return words ~ (E'(^|_)(setting|settings|config|configs|configuration|conf|preference|pref|option|parameter|param|variable|var|env|environment|environment_variable|property|prop|metadata|meta'
        || '|setup|feature_flag|registry|kv|key_?value|constance|system_info|secret|store)(_(store|storage|table|value|entry|item|override|record|data|kv|pair|list))*$')
        and words !~ '(^|_)(book|web|app|play|data|vector|file|object|online|shop|grocery)_store$|^store$';
end
$$;

comment on function audit_internal.is_table_of_settings(text) is
    'Whether a table of these words is one in which settings are kept.';
