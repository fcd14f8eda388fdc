-- Adding a destination.

create or replace function audit.add_destination(name text, url text, format text default 'webhook', options jsonb default '{}')
returns text
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_variable
declare
    options_given constant jsonb := coalesce(jsonb_strip_nulls(options), '{}');
    token constant text := options_given ->> 'token';
    filters audit.filter;
    settings audit.destination;
    new_secret text;
begin
    perform audit_internal.check_options(
        'a destination',
        options_given,
        '{
            "categories": "array", "actions": "array", "orgs": "array", "since": "string", "seals": "boolean",
            "allow_http": "boolean", "allowed_networks": "array", "max_in_flight": "number", "gzip": "boolean",
            "token": "string", "token_env": "string", "token_file": "string", "ca_file": "string", "client_cert_file": "string",
            "oauth_url": "string", "oauth_client_id": "string", "oauth_scope": "string"
        }'
    );
    begin
        settings := jsonb_populate_record(
            null::audit.destination,
            '{"allow_http": false, "seals": false, "allowed_networks": []}' || (options_given - '{token, since}'::text[])
        );
    exception
        when data_exception then
            raise exception using
                errcode = 'PT009',
                message = 'allowed_networks is not a list of networks, or max_in_flight not a whole number',
                hint = 'Write {"allowed_networks": ["10.1.0.0/16"], "max_in_flight": 4}.';
    end;
    settings.name := name;
    settings.url := url;
    settings.format := format;
    perform audit_internal.check_token(format, token, settings.token_env, settings.token_file);
    perform audit_internal.check_destination(settings, num_nonnulls(token, settings.token_env, settings.token_file) = 1);
    filters := audit.filter(
        jsonb_build_object(
            'categories', options_given -> 'categories', 'actions', options_given -> 'actions', 'orgs', options_given -> 'orgs', 'since', options_given -> 'since'
        )
    );

    begin
        insert into audit.destination (
            name, format, url, categories, actions, orgs, since, allow_http, allowed_networks, max_in_flight, gzip, token_env,
            token_file, ca_file, client_cert_file, oauth_url, oauth_client_id, oauth_scope, seals
        )
        values (
            name, format, url, filters.categories, filters.actions, filters.orgs, filters.since, settings.allow_http,
            settings.allowed_networks, settings.max_in_flight, settings.gzip, settings.token_env, settings.token_file, settings.ca_file,
            settings.client_cert_file, settings.oauth_url, settings.oauth_client_id, settings.oauth_scope, settings.seals
        )
        returning id into settings.id;
    exception
        when unique_violation then
            raise exception using
                errcode = 'PT009',
                message = format('there is a destination "%s" already', name),
                hint = 'Choose another name, or remove that one first.';
        when integrity_constraint_violation or data_exception then
            -- In place of Postgres' own error, whose detail quotes the whole row.
            raise exception using
                errcode = 'PT009',
                message = format('the settings of destination "%s" can''t be stored', name),
                hint = E'Compare them with the comments on the columns of audit.destination: \\d+ audit.destination';
    end;

    if (select signed from audit.format as known where known.name = format) then
        new_secret := audit_internal.new_signing_secret();
        perform audit_internal.store_secret(settings.id, 'signing', new_secret);
    end if;
    if token is not null then
        perform audit_internal.store_secret(settings.id, 'token', token);
    end if;

    insert into audit.cursor (destination_id, system_identifier, batch_from, restored_id, takes_restored)
    values (
        settings.id, audit_internal.system_identifier(), audit_internal.first_snapshot(filters.since), audit_internal.restored_id(), filters.since is not null
    );
    return new_secret;
end
$$;

comment on function audit.add_destination(text, text, text, jsonb) is
    'Forwards events from now on, or since a time, to a URL. Returns the signing secret (Standard Webhooks; null where the format is not signed): it is shown only here. The options are columns of audit.destination ({"categories": ["api_keys"], "max_in_flight": 1}), since as audit_internal.parse_time() takes it, and token, which is kept in audit.destination_secret. PT002, PT009.';

create or replace function audit_internal.new_signing_secret()
returns text
language sql
as $$
    select 'whsec_' || pg_catalog.encode(audit_internal.random_bytes(), 'base64')
$$;

comment on function audit_internal.new_signing_secret() is 'Returns a new signing secret of Standard Webhooks: `whsec_` and 32 bytes in base64.';

create or replace function audit_internal.check_destination(settings audit.destination, has_token boolean)
returns void
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
    if (settings.name ~ '^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$') is not true then
        raise exception using
            errcode = 'PT009',
            message = format('invalid destination name "%s"', left(settings.name, 63)),
            hint = 'Use letters, digits, dots, dashes and underscores, at most 63.';
    elsif not exists (select from audit.format where name = settings.format) then
        raise exception using
            errcode = 'PT002',
            message = format('there is no format "%s"', left(settings.format, 63)),
            hint = 'The formats are ' || (select string_agg(name, ', ' order by name) from audit.format) || '.';
    elsif settings.max_in_flight not between 1 and 64 then
        raise exception using
            errcode = 'PT009',
            message = 'max_in_flight is out of range',
            hint = 'It is between 1 and 64; leave it out for what suits the format.';
    elsif exists (
        select
        from unnest(array[settings.token_file, settings.ca_file, settings.client_cert_file]) as file
        where file = '' or file ~ '[[:cntrl:]]' or length(file) > 1000 or '..' = any (string_to_array(file, '/'))
    )
    then
        raise exception using
            errcode = 'PT009',
            message = 'invalid name of a file in the secrets folder',
            hint = 'Write its path in the worker''s secrets folder, without control characters and without "..".';
    elsif num_nonnulls(settings.oauth_url, settings.oauth_client_id, settings.oauth_scope) not in (0, 3)
        or settings.oauth_url is not null and not has_token
    then
        raise exception using
            errcode = 'PT009',
            message = 'client credentials are incomplete',
            hint = 'Give --oauth-url, --oauth-client-id, --oauth-scope, and the secret as the token.';
    end if;
    perform audit_internal.check_url(settings.url, settings.allow_http);
    if settings.oauth_url is not null then
        perform audit_internal.check_url(settings.oauth_url, settings.allow_http);
    end if;
end
$$;

comment on function audit_internal.check_destination(audit.destination, boolean) is
    'Raises PT009 or PT002 (unknown format) unless a destination with these settings, and a token or none, can be added.';

create or replace function audit_internal.store_secret(found_id bigint, secret_kind text, new_secret text, overlap interval default null)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    insert into audit.destination_secret as stored (destination_id, kind, secret)
    values (found_id, secret_kind, new_secret)
    on conflict (destination_id, kind) do update
    set
        previous = case when overlap is not null then stored.secret end,
        previous_until = now() + overlap,
        secret = excluded.secret;
exception
    when integrity_constraint_violation or data_exception then
        -- In place of Postgres' own error, whose detail and context quote the secret.
        raise exception using
            errcode = 'PT009',
            message = 'the secret can''t be stored',
            hint = E'Compare it with the comments on the columns of audit.destination_secret: \\d+ audit.destination_secret';
end
$$;

comment on function audit_internal.store_secret(bigint, text, text, interval) is
    'Stores a secret of a destination, in place of the previous one, which remains valid for the overlap (null: not at all). PT009.';

create or replace function audit_internal.check_url(url text, allow_http boolean)
returns void
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
begin
    if allow_http is null
        or (url ~ E'^https?://([^][/?#@:\\s\\\\[:cntrl:]]+|\\[[0-9A-Fa-f:.]+\\])(:[0-9]{1,5})?([/?#][^\\s[:cntrl:]]*)?$') is not true
        or length(url) > 8192
    then
        raise exception using
            errcode = 'PT009',
            -- Not the whole URL: it may contain a password or a token.
            message = format('"%s" is not a URL that events can be posted to',
                left(regexp_replace(substring(url from '^[^?#]*'), '^([a-z]*:?//)?([^/]*@)?([^/]*).*$', E'\\1\\3'), 100)),
            hint = 'Write https://host/path, without a user name or password in it, in at most 8192 characters.';
    elsif url like 'http:%' and not allow_http then
        raise exception using
            errcode = 'PT009',
            message = format('%s is not https: anyone on the network could read the events', substring(url from '^http://[^/?#]*')),
            hint = 'Use https, or allow http for this destination (--allow-http).';
    end if;
end
$$;

comment on function audit_internal.check_url(text, boolean) is 'Raises PT009 unless it is a URL that events can be posted to.';

create or replace function audit_internal.check_token(destination_format text, token text, token_env text, token_file text)
returns void
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
    needed boolean := (select takes_token from audit.format where name = destination_format);
    sources integer := num_nonnulls(token, token_env, token_file);
begin
    if sources > 1 then
        raise exception using
            errcode = 'PT009',
            message = 'a destination has one token, from one source',
            hint = 'Give one of --token-env, --token-file and --token-stdin.';
    elsif needed and sources = 0 then
        raise exception using
            errcode = 'PT009',
            message = format('format "%s" needs a token', destination_format),
            hint = 'Name its source: --token-env NAME, --token-file FILE, or --token-stdin.';
    elsif token !~ E'^[\\x21-\\x7e]+$' or length(token) > 8192 then
        raise exception using
            errcode = 'PT009',
            message = 'this token can''t be sent in a header',
            hint = 'A token is at most 8192 printable ASCII characters, without spaces.';
    elsif token_env !~ '^[A-Za-z_][A-Za-z0-9_]{0,254}$' or token_env collate "C" ~* '^(PG|LD_|PYTHON)' then
        raise exception using
            errcode = 'PT009',
            -- The value is not quoted: it may be the token itself, given to the wrong option.
            message = 'not an environment variable that may hold a token',
            hint = 'Name one of letters, digits and underscores that does not begin with PG, LD_ or PYTHON.';
    end if;
end
$$;

comment on function audit_internal.check_token(text, text, text, text) is
    'Raises PT009 unless the token has one source, is present where the format needs it, and can be sent in a header. The worker''s own PG variables can''t be tokens.';
