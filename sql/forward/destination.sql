-- Adding a destination.

create or replace function audit.add_destination(name text, url text, format text default 'webhook', options jsonb default '{}')
returns text
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_variable
declare
    given constant jsonb := coalesce(jsonb_strip_nulls(options), '{}');
    token constant text := given ->> 'token';
    chosen audit.filter;
    made audit.destination;
    new_secret text;
begin
    perform audit_internal.check_options(
        'a destination',
        given,
        '{
            "categories": "array", "actions": "array", "orgs": "array", "since": "string", "seals": "boolean",
            "allow_http": "boolean", "allowed_networks": "array", "max_in_flight": "number", "gzip": "boolean",
            "token": "string", "token_env": "string", "token_file": "string", "ca_file": "string", "client_cert_file": "string",
            "oauth_url": "string", "oauth_client_id": "string", "oauth_scope": "string"
        }'
    );
    begin
        made := jsonb_populate_record(
            null::audit.destination,
            '{"allow_http": false, "seals": false, "allowed_networks": []}' || (given - '{token, since}'::text[])
        );
    exception
        when data_exception then
            raise exception using
                errcode = 'PT009',
                message = 'allowed_networks is not a list of networks, or max_in_flight not a whole number',
                hint = 'Write {"allowed_networks": ["10.1.0.0/16"], "max_in_flight": 4}.';
    end;
    perform audit_internal.check_destination(name, url, format, made.allow_http);
    perform audit_internal.check_token(format, token, made.token_env, made.token_file);
    perform audit_internal.check_files_and_limits(made);
    perform audit_internal.check_oauth(
        made.allow_http, num_nonnulls(token, made.token_env, made.token_file) = 1,
        made.oauth_url, made.oauth_client_id, made.oauth_scope
    );
    chosen := audit.filter(
        jsonb_build_object(
            'categories', given -> 'categories', 'actions', given -> 'actions', 'orgs', given -> 'orgs', 'since', given -> 'since'
        )
    );

    begin
        insert into audit.destination (
            name, format, url, categories, actions, orgs, since, allow_http, allowed_networks, max_in_flight, gzip, token_env,
            token_file, ca_file, client_cert_file, oauth_url, oauth_client_id, oauth_scope, seals
        )
        values (
            name, format, url, chosen.categories, chosen.actions, chosen.orgs, chosen.since, made.allow_http,
            made.allowed_networks, made.max_in_flight, made.gzip, made.token_env, made.token_file, made.ca_file,
            made.client_cert_file, made.oauth_url, made.oauth_client_id, made.oauth_scope, made.seals
        )
        returning id into made.id;
    exception
        when unique_violation then
            -- Somebody else adds one of this name at the same time, and was first.
            perform audit_internal.refuse_known_name(name);
        when integrity_constraint_violation or data_exception then
            perform audit_internal.refuse_unstorable(name);
    end;

    if (select signed from audit.format as known where known.name = format) then
        new_secret := audit_internal.new_signing_secret();
        perform audit_internal.store_secret(made.id, 'signing', new_secret);
    end if;
    if token is not null then
        perform audit_internal.store_secret(made.id, 'token', token);
    end if;

    insert into audit.cursor (destination_id, system_identifier, batch_from, foreign_id, takes_foreign)
    values (
        made.id, audit_internal.system_identifier(), audit_internal.first_snapshot(chosen.since), audit_internal.foreign_id(), chosen.since is not null
    );
    return new_secret;
end
$$;

comment on function audit.add_destination(text, text, text, jsonb) is
    'Forwards events from now on, or since a time, to a URL. Returns the signing secret (Standard Webhooks; null where the format is not signed): it is shown only here. The options are columns of audit.destination ({"categories": ["api_keys"], "max_in_flight": 1}), since as audit_internal.moment() takes it, and token, which is kept in audit.destination_secret. PT002, PT009.';

create or replace function audit_internal.new_signing_secret()
returns text
language sql
volatile
as $$
    select 'whsec_' || pg_catalog.encode(audit_internal.random_bytes(), 'base64')
$$;

comment on function audit_internal.new_signing_secret() is 'A signing secret of Standard Webhooks: `whsec_` and 32 bytes in base64.';

create or replace function audit_internal.check_destination(
    destination_name text, destination_url text, destination_format text, allow_http boolean
)
returns void
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
    if (destination_name ~ '^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$') is not true then
        raise exception using
            errcode = 'PT009',
            message = format('"%s" can''t be a destination''s name', left(destination_name, 63)),
            hint = 'Use letters, digits, dots, dashes and underscores, at most 63.';
    elsif exists (select from audit.destination where name = destination_name) then
        perform audit_internal.refuse_known_name(destination_name);
    elsif not exists (select from audit.format where name = destination_format) then
        raise exception using
            errcode = 'PT002',
            message = format('there is no format "%s"', left(destination_format, 63)),
            hint = 'The formats are ' || (select string_agg(name, ', ' order by name) from audit.format) || '.';
    end if;
    perform audit_internal.check_url(destination_url, allow_http);
end
$$;

comment on function audit_internal.check_destination(text, text, text, boolean) is
    'Raises PT009 (name), PT009 (URL) or PT002 (format) unless a destination can be added so.';

create or replace function audit_internal.refuse_known_name(destination_name text)
returns void
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
    raise exception using
        errcode = 'PT009',
        message = format('there is a destination "%s" already', destination_name),
        hint = 'Choose another name, or remove that one first.';
end
$$;

comment on function audit_internal.refuse_known_name(text) is 'Raises PT009: two destinations can''t have one name.';

create or replace function audit_internal.refuse_unstorable(destination_name text)
returns void
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
    -- In place of Postgres' own error, whose detail quotes the row, secrets and all.
    raise exception using
        errcode = 'PT009',
        message = format('the settings or the secret of destination "%s" can''t be stored', destination_name),
        hint = E'Compare them with the comments on the columns of audit.destination: \\d+ audit.destination';
end
$$;

comment on function audit_internal.refuse_unstorable(text) is 'Raises PT009: a constraint refuses what a destination was given.';

create or replace function audit_internal.store_secret(found_id bigint, secret_kind text, new_secret text)
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
begin
    insert into audit.destination_secret (destination_id, kind, secret)
    values (found_id, secret_kind, new_secret)
    on conflict (destination_id, kind) do update set secret = excluded.secret;
exception
    when integrity_constraint_violation or data_exception then
        perform audit_internal.refuse_unstorable((select name from audit.destination where id = found_id));
end
$$;

comment on function audit_internal.store_secret(bigint, text, text) is 'Keeps a secret of a destination, in place of the one before. PT009.';

create or replace function audit_internal.check_files_and_limits(made audit.destination)
returns void
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
begin
    if made.max_in_flight not between 1 and 64 then
        raise exception using
            errcode = 'PT009',
            message = 'max_in_flight is out of range',
            hint = 'It is between 1 and 64; leave it out for what suits the format.';
    elsif exists (
        select
        from unnest(array[made.token_file, made.ca_file, made.client_cert_file]) as file
        where file = '' or file ~ '[[:cntrl:]]' or length(file) > 1000 or '..' = any (string_to_array(file, '/'))
    )
    then
        raise exception using
            errcode = 'PT009',
            message = 'a file of the worker is named by its name in the secrets folder',
            hint = 'Name it as it is listed there, without control characters and without "..".';
    end if;
end
$$;

comment on function audit_internal.check_files_and_limits(audit.destination) is
    'Raises PT009 unless max_in_flight is in its range, and its files can be in the worker''s secrets folder.';

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
            -- Not the whole of it: there may be a password or a token in it.
            message = format('"%s" is not a URL that events can be posted to',
                left(regexp_replace(substring(url from '^[^?#]*'), '^([a-z]*:?//)?([^/]*@)?([^/]*).*$', E'\\1\\3'), 100)),
            hint = 'Write https://host/path, without a user name or password in it, in at most 8192 characters.';
    elsif url like 'http:%' and not allow_http then
        raise exception using
            errcode = 'PT009',
            message = format('%s is not https: anyone on the way could read the events', substring(url from '^http://[^/?#]*')),
            hint = 'Use https, or allow http for this destination (--allow-http).';
    end if;
end
$$;

comment on function audit_internal.check_url(text, boolean) is 'Raises PT009 unless it can be posted to.';

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
            message = 'a destination has one token, and it comes from one place',
            hint = 'Give one of --token-env, --token-file and --token-stdin.';
    elsif needed and sources = 0 then
        raise exception using
            errcode = 'PT009',
            message = format('format "%s" needs a token', destination_format),
            hint = 'Say where the worker finds it: --token-env NAME, --token-file FILE, or --token-stdin.';
    elsif token !~ E'^[\\x21-\\x7e]+$' or length(token) > 8192 then
        raise exception using
            errcode = 'PT009',
            message = 'this token can''t be sent in a header',
            hint = 'A token is at most 8192 printable ASCII characters, without spaces.';
    elsif token_env !~ '^[A-Za-z_][A-Za-z0-9_]{0,254}$' or token_env collate "C" ~* '^(PG|LD_|PYTHON)' then
        raise exception using
            errcode = 'PT009',
            -- Without it: who mistakes the option gives the token itself.
            message = 'this is no environment variable that holds a token',
            hint = 'Name one of letters, digits and underscores that does not begin with PG, LD_ or PYTHON.';
    end if;
end
$$;

comment on function audit_internal.check_token(text, text, text, text) is
    'Raises PT009 unless the token comes from one place, is there where the format needs it, and is fit to be sent. The worker''s own PG variables are nobody''s token.';

create or replace function audit_internal.check_oauth(
    allow_http boolean, has_token boolean, oauth_url text, oauth_client_id text, oauth_scope text
)
returns void
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
begin
    if num_nonnulls(oauth_url, oauth_client_id, oauth_scope) = 0 then
        return;
    elsif num_nonnulls(oauth_url, oauth_client_id, oauth_scope) < 3 or not has_token then
        raise exception using
            errcode = 'PT009',
            message = 'client credentials are four: URL, client id, scope and the client''s secret',
            hint = 'Give --oauth-url, --oauth-client-id, --oauth-scope, and the secret as the token.';
    end if;
    perform audit_internal.check_url(oauth_url, allow_http);
end
$$;

comment on function audit_internal.check_oauth(boolean, boolean, text, text, text) is
    'Raises PT009 unless client credentials are whole or not given at all, PT009 for their URL.';
