-- Destinations: what an operator does with them.

create or replace function audit.ping_event()
returns audit.event
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
    select pg_catalog.jsonb_populate_record(
        null::audit.event,
        pg_catalog.jsonb_build_object(
            'id', 0,
            'occurred_at', pg_catalog.now(),
            'category', 'audit',
            'action', 'audit.ping',
            'resource_type', 'destination',
            'actor_type', 'database',
            'actor_id', session_user,
            'db_role', session_user
        )
    )
$$;

comment on function audit.ping_event() is 'An event that is sent to test a destination and stands nowhere.';

create or replace function audit.add_destination(
    name text,
    url text,
    format text default 'webhook',
    categories text[] default null,
    actions text[] default null,
    orgs text[] default null,
    since timestamptz default null,
    allow_http boolean default false,
    allowed_networks cidr[] default '{}',
    max_in_flight integer default null,
    gzip boolean default null,
    token text default null,
    token_env text default null,
    token_file text default null,
    ca_file text default null,
    client_cert_file text default null,
    oauth_url text default null,
    oauth_client_id text default null,
    oauth_scope text default null,
    seals boolean default false
)
returns text
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_variable
declare
    new_id bigint;
    new_secret text;
begin
    perform audit.check_destination(name, url, format, allow_http);
    perform audit.check_settings(categories, actions, orgs, allowed_networks, max_in_flight, seals);
    perform audit.check_token(format, token, token_env, token_file);
    perform audit.check_secret_files(token_file, ca_file, client_cert_file);
    perform audit.check_moments(since);
    perform audit.check_oauth(allow_http, num_nonnulls(token, token_env, token_file) = 1, oauth_url, oauth_client_id, oauth_scope);

    begin
        insert into audit.destination (
            name, format, url, categories, actions, orgs, since, allow_http, allowed_networks, max_in_flight, gzip, token_env,
            token_file, ca_file, client_cert_file, oauth_url, oauth_client_id, oauth_scope, seals
        )
        values (
            name, format, url, categories, actions, orgs, since, allow_http, allowed_networks, max_in_flight, gzip, token_env,
            token_file, ca_file, client_cert_file, oauth_url, oauth_client_id, oauth_scope, seals
        )
        returning id into new_id;
    exception
        when unique_violation then
            -- Somebody else adds one of this name at the same time, and was first.
            perform audit.refuse_known_name(name);
        when integrity_constraint_violation or data_exception then
            perform audit.refuse_unstorable(name);
    end;

    if (select signed from audit.format as known where known.name = format) then
        new_secret := audit.new_signing_secret();
        perform audit.store_secret(new_id, 'signing', new_secret);
    end if;
    if token is not null then
        perform audit.store_secret(new_id, 'token', token);
    end if;

    insert into audit.cursor (destination_id, system_identifier, batch_from, foreign_id, takes_foreign)
    values (new_id, audit.system_identifier(), audit.first_snapshot(since), audit.foreign_id(), since is not null);
    return new_secret;
end
$$;

comment on function audit.add_destination(
    text, text, text, text[], text[], text[], timestamptz, boolean, cidr[], integer, boolean, text, text, text, text, text,
    text, text, text, boolean
) is
    'Forwards events from now on, or since a time, to a URL. Returns the signing secret (Standard Webhooks; null where the format is not signed): it is shown only here. Columns of audit.destination say what the arguments mean; token is kept in audit.destination_secret. PT005, PT009–PT012, PT016, PT032, PT069, PT070, PT085.';

create or replace function audit.new_signing_secret()
returns text
language sql
volatile
as $$
    select 'whsec_' || pg_catalog.encode(audit.random_bytes(), 'base64')
$$;

comment on function audit.new_signing_secret() is 'A signing secret of Standard Webhooks: `whsec_` and 32 bytes in base64.';

create or replace function audit.check_destination(
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
        perform audit.refuse_known_name(destination_name);
    elsif not exists (select from audit.format where name = destination_format) then
        raise exception using
            errcode = 'PT011',
            message = format('there is no format "%s"', left(destination_format, 63)),
            hint = 'The formats are ' || (select string_agg(name, ', ' order by name) from audit.format) || '.';
    end if;
    perform audit.check_url(destination_url, allow_http);
end
$$;

comment on function audit.check_destination(text, text, text, boolean) is
    'Raises PT009 (name), PT010 (URL) or PT011 (format) unless a destination can be added so.';

create or replace function audit.refuse_known_name(destination_name text)
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

comment on function audit.refuse_known_name(text) is 'Raises PT009: two destinations can''t have one name.';

create or replace function audit.refuse_unstorable(destination_name text)
returns void
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
    -- In place of Postgres' own error, whose detail quotes the row, secrets and all.
    raise exception using
        errcode = 'PT070',
        message = format('the settings or the secret of destination "%s" can''t be stored', destination_name),
        hint = E'Compare them with the comments on the columns of audit.destination: \\d+ audit.destination';
end
$$;

comment on function audit.refuse_unstorable(text) is 'Raises PT070: a constraint refuses what a destination was given.';

create or replace function audit.store_secret(found_id bigint, secret_kind text, new_secret text)
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
        perform audit.refuse_unstorable((select name from audit.destination where id = found_id));
end
$$;

comment on function audit.store_secret(bigint, text, text) is 'Keeps a secret of a destination, in place of the one before. PT070.';

create or replace function audit.check_settings(
    categories text[], actions text[], orgs text[], allowed_networks cidr[], max_in_flight integer, seals boolean
)
returns void
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
    category_name text;
begin
    perform audit.check_list('categories', categories);
    perform audit.check_list('actions', actions);
    perform audit.check_list('orgs', orgs);
    perform audit.check_list('allowed_networks', allowed_networks::text[]);
    if allowed_networks is null or seals is null or max_in_flight not between 1 and 64 then
        raise exception using
            errcode = 'PT069',
            message = 'a setting of the destination is null, or out of its range',
            hint = 'allowed_networks is a list (empty: none), seals true or false, max_in_flight between 1 and 64 or null.';
    end if;
    foreach category_name in array coalesce(categories, '{}')
    loop
        perform audit.check_category(category_name);
    end loop;
    perform audit.check_patterns(actions);
    begin
        perform 'key.created' ~ audit.glob(actions);
    exception
        when data_exception or program_limit_exceeded or insufficient_resources then
            raise exception using
                errcode = 'PT069',
                message = 'these patterns for actions can''t be searched with',
                hint = 'Use fewer stars: key.*';
    end;
end
$$;

comment on function audit.check_settings(text[], text[], text[], cidr[], integer, boolean) is
    'Raises PT005 (category), PT032 or PT069 unless events can be filtered and sent by these settings.';

create or replace function audit.check_list(setting text, elements text[])
returns void
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
begin
    if array_ndims(elements) > 1 or exists (select from unnest(elements) as element where element is null) then
        raise exception using
            errcode = 'PT069',
            message = format('%s is not a list, or holds a null', setting),
            hint = 'Name each, as in array[''a'', ''b'']; leave the setting out for all.';
    end if;
end
$$;

comment on function audit.check_list(text, text[]) is 'Raises PT069 unless it is a list without nulls, or null.';

create or replace function audit.check_secret_files(token_file text, ca_file text, client_cert_file text)
returns void
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
begin
    if exists (
        select
        from unnest(array[token_file, ca_file, client_cert_file]) as file
        where file = '' or file ~ '[[:cntrl:]]' or length(file) > 1000 or '..' = any (string_to_array(file, '/'))
    )
    then
        raise exception using
            errcode = 'PT069',
            message = 'a file of the worker is named by its name in the secrets folder',
            hint = 'Name it as it is listed there, without control characters and without "..".';
    end if;
end
$$;

comment on function audit.check_secret_files(text, text, text) is
    'Raises PT069 unless these can be files of the worker''s secrets folder, or are null.';

create or replace function audit.check_url(url text, allow_http boolean)
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
            errcode = 'PT010',
            -- Not the whole of it: there may be a password or a token in it.
            message = format('"%s" is not a URL that events can be posted to',
                left(regexp_replace(substring(url from '^[^?#]*'), '^([a-z]*:?//)?([^/]*@)?([^/]*).*$', E'\\1\\3'), 100)),
            hint = 'Write https://host/path, without a user name or password in it, in at most 8192 characters.';
    elsif url like 'http:%' and not allow_http then
        raise exception using
            errcode = 'PT010',
            message = format('%s is not https: anyone on the way could read the events', substring(url from '^http://[^/?#]*')),
            hint = 'Use https, or allow http for this destination (--allow-http).';
    end if;
end
$$;

comment on function audit.check_url(text, boolean) is 'Raises PT010 unless it can be posted to.';

create or replace function audit.check_token(destination_format text, token text, token_env text, token_file text)
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
            errcode = 'PT016',
            message = 'a destination has one token, and it comes from one place',
            hint = 'Give one of --token-env, --token-file and --token-stdin.';
    elsif needed and sources = 0 then
        raise exception using
            errcode = 'PT016',
            message = format('format "%s" needs a token', destination_format),
            hint = 'Say where the worker finds it: --token-env NAME, --token-file FILE, or --token-stdin.';
    elsif token !~ E'^[\\x21-\\x7e]+$' or length(token) > 8192 then
        raise exception using
            errcode = 'PT016',
            message = 'this token can''t be sent in a header',
            hint = 'A token is at most 8192 printable ASCII characters, without spaces.';
    elsif token_env !~ '^[A-Za-z_][A-Za-z0-9_]{0,254}$' or token_env collate "C" ~* '^(PG|LD_|PYTHON)' then
        raise exception using
            errcode = 'PT016',
            -- Without it: who mistakes the option gives the token itself.
            message = 'this is no environment variable that holds a token',
            hint = 'Name one of letters, digits and underscores that does not begin with PG, LD_ or PYTHON.';
    end if;
end
$$;

comment on function audit.check_token(text, text, text, text) is
    'Raises PT016 unless the token comes from one place, is there where the format needs it, and is fit to be sent. The worker''s own PG variables are nobody''s token.';

create or replace function audit.check_oauth(
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
            errcode = 'PT016',
            message = 'client credentials are four: URL, client id, scope and the client''s secret',
            hint = 'Give --oauth-url, --oauth-client-id, --oauth-scope, and the secret as the token.';
    end if;
    perform audit.check_url(oauth_url, allow_http);
end
$$;

comment on function audit.check_oauth(boolean, boolean, text, text, text) is
    'Raises PT016 unless client credentials are whole or not given at all, PT010 for their URL.';

create or replace function audit.rotate_secret(destination_name text, overlap interval default '24 hours')
returns text
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    found_id bigint := audit.destination_id(destination_name);
    new_secret text := audit.new_signing_secret();
begin
    if (overlap between interval '0' and interval '30 days') is not true then
        raise exception using
            errcode = 'PT069',
            message = 'two secrets can''t overlap for so long',
            hint = 'Let both sign for at most 30 days: 24 hours, or 0 to end the old one now.';
    end if;
    begin
        update audit.destination_secret
        set
            previous = secret,
            previous_until = now() + overlap,
            secret = new_secret
        where destination_id = found_id and kind = 'signing';
    exception
        when integrity_constraint_violation or data_exception then
            perform audit.refuse_unstorable(destination_name);
    end;
    if not exists (select from audit.destination_secret where destination_id = found_id and kind = 'signing') then
        raise exception using
            errcode = 'PT016',
            message = format('requests to "%s" are not signed', destination_name),
            hint = 'Its token is replaced with: pgtrail destination set-token';
    end if;
    notify pgtrail;
    return new_secret;
end
$$;

comment on function audit.rotate_secret(text, interval) is
    'A new signing secret, shown only here; the old one signs beside it until the overlap, of at most 30 days, is over. PT012, PT016, PT069, PT070.';

create or replace function audit.set_token(destination_name text, token text)
returns void
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_variable
declare
    found_id bigint := audit.destination_id(destination_name);
begin
    if token is null then
        raise exception using
            errcode = 'PT016',
            message = 'there is no token to keep',
            hint = 'Pipe it in: pgtrail destination set-token NAME < token.txt';
    end if;
    perform audit.check_token((select format from audit.destination where id = found_id), token, null, null);
    update audit.destination set token_env = null, token_file = null where id = found_id;
    perform audit.store_secret(found_id, 'token', token);
    notify pgtrail;
end
$$;

comment on function audit.set_token(text, text) is
    'Keeps a token in the database, in place of the one before or of where it came from. It is never shown again. A token in a statement is in the server''s log, if statements are logged: `pgtrail destination set-token` sends it by COPY. PT012, PT016, PT070.';

create or replace function audit.pause_destination(destination_name text, paused boolean default true)
returns void
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_variable
declare
    found_id bigint := audit.destination_id(destination_name);
begin
    if paused is null then
        raise exception using
            errcode = 'PT069',
            message = 'a destination is paused or it is not',
            hint = 'paused is true or false.';
    end if;
    -- In the order in which a settlement locks: the cursor, then what refers to it.
    perform from audit.cursor where destination_id = found_id order by id for update;
    update audit.destination as destination
    set paused = pause_destination.paused
    where destination.id = found_id and destination.paused <> pause_destination.paused;
    if not paused then
        -- Who resumes wants it tried now.
        update audit.cursor set retry_at = null where destination_id = found_id;
    end if;
    notify pgtrail;
end
$$;

comment on function audit.pause_destination(text, boolean) is
    'Pauses a destination, or (paused => false) resumes it from where it was: nothing is lost. PT012, PT069.';

create or replace function audit.remove_destination(destination_name text, at_once boolean default false)
returns void
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    found_id bigint := audit.destination_id(destination_name);
begin
    if at_once then
        perform audit.forget_destination(found_id);
    elsif (select paused from audit.destination where id = found_id) then
        raise exception using
            errcode = 'PT028',
            message = format('destination "%s" is paused: it would never hear of its removal', destination_name),
            hint = 'Resume it first, or remove it without a word: pgtrail destination remove --now ' || destination_name;
    else
        update audit.destination set leaving = pg_current_xact_id() where id = found_id and leaving is null;
    end if;
    notify pgtrail;
end
$$;

comment on function audit.remove_destination(text, boolean) is
    'Removes a destination once it has got everything that was recorded until now, its removal last; or at once, with whatever it has not got. PT012, PT028.';

create or replace function audit.forget_destination(found_id bigint)
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
begin
    -- In the order in which a settlement locks: the cursor, then what refers to it.
    perform from audit.cursor where destination_id = found_id order by id for update;
    delete from audit.destination where id = found_id;
end
$$;

comment on function audit.forget_destination(bigint) is
    'Removes a destination with its cursor, secrets, attempts, replays and dead letters.';

create or replace function audit.replay_events(
    destination_name text,
    reason text,
    since timestamptz default null,
    until timestamptz default null,
    event_ids bigint[] default null,
    redrive boolean default false
)
returns bigint
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_variable
declare
    found_id bigint := audit.destination_id(destination_name);
    new_id bigint;
begin
    if coalesce(reason, '') !~ E'\\S' then
        raise exception using
            errcode = 'PT017',
            message = 'events are not sent again without a reason',
            hint = 'Say why with --reason: it is recorded.';
    elsif num_nonnulls(since, until, event_ids) = 0 then
        raise exception using
            errcode = 'PT017',
            message = 'this would send every event again',
            hint = 'Choose some: --since, --until or --event. (All of them are: --since 1970-01-01.)';
    elsif redrive and event_ids is null then
        raise exception using
            errcode = 'PT017',
            message = 'dead letters are sent again by their ids',
            hint = 'Use audit.redrive_dead_letters().';
    end if;
    perform audit.check_moments(since, until);
    insert into audit.replay (destination_id, since, until, event_ids, redrive, reason)
    values (found_id, since, until, event_ids, coalesce(redrive, false), reason)
    returning id into new_id;
    insert into audit.cursor (destination_id, replay_id, system_identifier, batch_from, batch_to, foreign_id)
    values (found_id, new_id, audit.system_identifier(), '1:1:', pg_current_snapshot(), audit.foreign_id());
    notify pgtrail;
    return new_id;
end
$$;

comment on function audit.replay_events(text, text, timestamptz, timestamptz, bigint[], boolean) is
    'Sends events that the destination''s filters let through once more, under the same ids, beside the new ones. The replay''s id. PT012, PT017, PT085.';

create or replace function audit.redrive_dead_letters(destination_name text, reason text, event_ids bigint[] default null)
returns bigint
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    chosen bigint[];
begin
    select array_agg(event_id order by event_id)
    into chosen
    from audit.dead_letter
    where destination_id = audit.destination_id(destination_name)
        and delivered_at is null
        and (event_ids is null or event_id = any (event_ids));
    if chosen is null then
        raise exception using
            errcode = 'PT018',
            message = format('destination "%s" has no such dead letter', destination_name),
            hint = 'They are listed with: pgtrail destination dead-letters ' || destination_name;
    end if;
    perform audit.replay_events(destination_name, reason, event_ids => chosen, redrive => true);
    return cardinality(chosen);
end
$$;

comment on function audit.redrive_dead_letters(text, text, bigint[]) is
    'Tries dead letters again, all that are not delivered or those named. How many. PT012, PT017, PT018.';

create or replace function audit.rebase_destination(destination_name text, since timestamptz default null)
returns void
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_variable
declare
    found_id bigint := audit.destination_id(destination_name);
begin
    perform audit.check_moments(since);
    -- In the order in which a settlement locks: the cursor, then what refers to it.
    perform from audit.cursor where destination_id = found_id order by id for update;
    update audit.destination as destination
    set
        since = rebase_destination.since,
        leaving = case when leaving is not null then pg_current_xact_id() end
    where destination.id = found_id;
    -- A replay that was not finished chose by snapshots of the other cluster.
    delete from audit.replay where destination_id = found_id and finished_at is null;
    update audit.cursor
    set
        system_identifier = audit.system_identifier(),
        batch_from = audit.first_snapshot(since),
        batch_to = null,
        last_sent_id = 0,
        sent_ahead = '{}',
        foreign_id = audit.foreign_id(),
        takes_foreign = since is not null,
        batch_last_id = null,
        retry_at = null,
        lease_holder = null,
        lease_until = null,
        lease_token = lease_token + 1
    where destination_id = found_id;
    notify pgtrail;
end
$$;

comment on function audit.rebase_destination(text, timestamptz) is
    'Begins a destination anew in a database that was restored: from now on, or with all events since a time, of which it may have got some. PT012, PT085.';

create or replace function audit.destination_id(destination_name text)
returns bigint
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
    found_id bigint := (select id from audit.destination where name = destination_name);
begin
    if found_id is null then
        raise exception using
            errcode = 'PT012',
            message = format('there is no destination "%s"', left(destination_name, 63)),
            hint = coalesce(
                'The destinations are ' || (select string_agg(name, ', ' order by name) from audit.destination) || '.',
                'There are none yet: pgtrail destination add NAME --url https://…'
            );
    end if;
    return found_id;
end
$$;

comment on function audit.destination_id(text) is 'The id of a destination. PT012.';

create or replace function audit.foreign_id()
returns bigint
language sql
stable
as $$
    -- Its transaction is still to come, and yet its row is there.
    select coalesce(max(event.id), 0)
    from audit.event
    where event.xid >= pg_catalog.pg_snapshot_xmax(pg_catalog.pg_current_snapshot())
        and event.xid is distinct from pg_catalog.pg_current_xact_id_if_assigned()
$$;

comment on function audit.foreign_id() is
    'The highest id of an event that was recorded in another cluster, under a transaction id that this one has not reached; 0: there is none.';

create or replace function audit.first_snapshot(since timestamptz)
returns pg_snapshot
language sql
stable
as $$
    select case
        when since is null then pg_catalog.pg_current_snapshot()
        -- In which no event of this cluster is visible yet, and no transaction that is open either.
        else (
            select pg_catalog.format(
                '%1$s:%1$s:', least(pg_catalog.pg_snapshot_xmin(pg_catalog.pg_current_snapshot()), min(event.xid))
            )::pg_snapshot
            from audit.event
            where event.id > (select audit.foreign_id())
        )
    end
$$;

comment on function audit.first_snapshot(timestamptz) is
    'Where a cursor begins: at present, or (since a time) before everything.';

create or replace function audit.is_for(event audit.event, destination audit.destination)
returns boolean
language sql
immutable
as $$
    select case
        when event.action operator(pg_catalog.=) 'audit.sealed' then
            destination.seals and (destination.since is null or event.occurred_at operator(pg_catalog.>=) destination.since)
        -- Whoever loses the events must hear of it.
        when event.action operator(pg_catalog.=) 'audit.destination_removed'
            and event.resource_id operator(pg_catalog.=) destination.id::pg_catalog.text then true
        else (destination.since is null or event.occurred_at operator(pg_catalog.>=) destination.since)
            and audit.matches(event, destination.categories, destination.actions, destination.orgs)
    end
$$;

comment on function audit.is_for(audit.event, audit.destination) is
    'Whether a destination gets an event: its filters let it through; or it is a seal, and it asks for seals; or it is its own removal.';

create or replace function audit.is_news_for(event audit.event, destination audit.destination)
returns boolean
language sql
immutable
as $$
    select event.imported_from is null and audit.is_for(event, destination)
$$;

comment on function audit.is_news_for(audit.event, audit.destination) is
    'Whether a destination gets an event as it is recorded: audit.is_for(), and it happened now. What was imported is old news, which only a replay sends.';

create or replace function audit.cursor_state(reached audit.cursor)
returns text
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
    select case
        when reached.failing_since < pg_catalog.now() - interval '5 days' then 'suspended'
        when reached.needs_attention or reached.broken is not null then 'needs_attention'
        when reached.failures > 0 then 'retrying'
        else 'active'
    end
$$;

comment on function audit.cursor_state(audit.cursor) is
    '`active`; `retrying`: failed attempts are repeated by schedule; `needs_attention`: the receiver wants an operator, it is probed every 15 minutes, or no worker can serve it (audit.cursor.broken); `suspended`: no success for 5 days, it is probed hourly. All but the first resume by themselves.';

create or replace function audit.backlog(
    destination audit.destination, reached audit.cursor, out events bigint, out oldest timestamptz, out error text
)
language plpgsql
stable
set search_path = pg_catalog, pg_temp
-- (As in audit.begin_batch().)
set plan_cache_mode = force_custom_plan
as $$
begin
    select count(*), min(pending.occurred_at)
    into events, oldest
    from (
        select event.occurred_at
        from audit.batch(reached.batch_from, pg_current_snapshot()) as event
        where audit.is_news_for(event, destination)
            and event.id > reached.foreign_id
            and event.id <> all (reached.sent_ahead)
            and (
                reached.batch_to is null
                or event.id > reached.last_sent_id
                or not pg_visible_in_snapshot(event.xid, reached.batch_to)
            )
        limit 100000
    ) as pending;
exception
    -- One destination's filters must not hide the others. (A statement's time limit still ends it.)
    when others then
        events := null;
        error := format('its filters can''t be evaluated (SQLSTATE %s)', sqlstate);
end
$$;

comment on function audit.backlog(audit.destination, audit.cursor) is
    'How many events a destination has still to get (it counts to 100,000), and since when the oldest of them waits. Null events: its filters raise an error.';

create or replace view audit.destination_status
with (security_invoker = true) as
select
    destination.id,
    destination.name,
    destination.format,
    destination.url,
    destination.categories,
    destination.actions,
    destination.orgs,
    case
        when destination.paused then 'paused'
        when behind.error is not null then 'needs_attention'
        when destination.leaving is not null and cursor.failures = 0 and cursor.broken is null then 'leaving'
        else audit.cursor_state(cursor)
    end as state,
    behind.events as events_behind,
    case
        when behind.events > 0 then extract(epoch from clock_timestamp() - least(greatest(behind.oldest, timestamptz '1970-01-01 00:00:00+00'), clock_timestamp()))
        when behind.events = 0 then 0
    end as seconds_behind,
    (
        select count(*)
        from audit.dead_letter
        where dead_letter.destination_id = destination.id and dead_letter.delivered_at is null
    ) as dead_letters,
    (
        select count(*)
        from audit.replay
        where replay.destination_id = destination.id and replay.finished_at is null
    ) as replays,
    cursor.last_attempt_at,
    cursor.last_success_at,
    coalesce(behind.error, cursor.broken, cursor.last_error) as last_error,
    cursor.failures,
    cursor.failing_since,
    cursor.retry_at,
    cursor.lease_holder,
    cursor.lease_until
from audit.destination
join audit.cursor on cursor.destination_id = destination.id and cursor.replay_id is null
cross join lateral audit.backlog(destination, cursor) as behind;

comment on view audit.destination_status is
    'The destinations: whether they are served, how many events each has still to get (it counts to 100,000) and for how long the oldest of these has waited, in seconds; null: its filters can''t be evaluated, as last_error says.';
