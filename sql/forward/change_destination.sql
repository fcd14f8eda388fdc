-- Changing a destination: its secrets, pause, removal, and what is sent again.

create or replace function audit.rotate_secret(destination_name text, overlap interval default '24 hours')
returns text
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    found_id bigint := audit_internal.destination_id(destination_name);
    new_secret text := audit_internal.new_signing_secret();
begin
    if (overlap between interval '0' and interval '30 days') is not true then
        raise exception using
            errcode = 'PT009',
            message = 'the overlap of two secrets is out of range',
            hint = 'It is at most 30 days: write 24 hours, or 0 to end the old one now.';
    end if;
    if not exists (select from audit.destination_secret where destination_id = found_id and kind = 'signing') then
        raise exception using
            errcode = 'PT009',
            message = format('requests to "%s" are not signed', destination_name),
            hint = 'Its token is replaced with: pgtrail destination set-token';
    end if;
    perform audit_internal.store_secret(found_id, 'signing', new_secret, overlap);
    notify pgtrail;
    return new_secret;
end
$$;

comment on function audit.rotate_secret(text, interval) is
    'Makes a new signing secret, which is shown only here; the old one signs too until the overlap, of at most 30 days, ends. PT002, PT009.';

create or replace function audit.set_token(destination_name text, token text)
returns void
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_variable
declare
    found_id bigint := audit_internal.destination_id(destination_name);
begin
    if token is null then
        raise exception using
            errcode = 'PT009',
            message = 'no token was given',
            hint = 'Pipe it in: pgtrail destination set-token NAME < token.txt';
    end if;
    perform audit_internal.check_token((select format from audit.destination where id = found_id), token, null, null);
    update audit.destination set token_env = null, token_file = null where id = found_id;
    perform audit_internal.store_secret(found_id, 'token', token);
    notify pgtrail;
end
$$;

comment on function audit.set_token(text, text) is
    'Stores a token in the database, in place of the previous one or its source. It is never shown again. A token in a statement is in the server''s log, if statements are logged: `pgtrail destination set-token` sends it by COPY. PT002, PT009.';

create or replace function audit.pause_destination(destination_name text, paused boolean default true)
returns void
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_variable
declare
    found_id bigint := audit_internal.destination_id(destination_name);
begin
    if paused is null then
        raise exception using
            errcode = 'PT009',
            message = 'paused is null',
            hint = 'paused is true or false.';
    end if;
    -- Locked in the same order as in audit_internal.record_delivery(): the cursor first, then the rows that refer to it.
    perform from audit.cursor where destination_id = found_id order by id for update;
    update audit.destination as destination
    set paused = pause_destination.paused
    where destination.id = found_id and destination.paused <> pause_destination.paused;
    if not paused then
        -- Resuming retries at once.
        update audit.cursor set retry_at = null where destination_id = found_id;
    end if;
    notify pgtrail;
end
$$;

comment on function audit.pause_destination(text, boolean) is
    'Pauses a destination, or (paused => false) resumes it from where it was: nothing is lost. PT002, PT009.';

create or replace function audit.remove_destination(destination_name text, at_once boolean default false)
returns void
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    found_id bigint := audit_internal.destination_id(destination_name);
begin
    if at_once then
        perform audit_internal.delete_destination(found_id);
    elsif (select paused from audit.destination where id = found_id) then
        raise exception using
            errcode = 'PT028',
            message = format('destination "%s" is paused: it would not receive the event of its removal', destination_name),
            hint = 'Resume it first, or remove it at once: pgtrail destination remove --now ' || destination_name;
    else
        update audit.destination set leaving = pg_current_xact_id() where id = found_id and leaving is null;
    end if;
    notify pgtrail;
end
$$;

comment on function audit.remove_destination(text, boolean) is
    'Removes a destination once it has received every event recorded until now, that of its removal last; or at once, without the rest. PT002, PT028.';

create or replace function audit_internal.delete_destination(found_id bigint)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    -- Locked in the same order as in audit_internal.record_delivery(): the cursor first, then the rows that refer to it.
    perform from audit.cursor where destination_id = found_id order by id for update;
    delete from audit.destination where id = found_id;
end
$$;

comment on function audit_internal.delete_destination(bigint) is
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
security definer
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_variable
declare
    found_id bigint := audit_internal.destination_id(destination_name);
    new_id bigint;
begin
    if coalesce(reason, '') !~ E'\\S' then
        raise exception using
            errcode = 'PT009',
            message = 'a replay needs a reason',
            hint = 'Give one with --reason: it is recorded.';
    elsif num_nonnulls(since, until, event_ids) = 0 then
        raise exception using
            errcode = 'PT009',
            message = 'this would send every event again',
            hint = 'Choose some: --since, --until or --event. (All of them are: --since 1970-01-01.)';
    elsif redrive and event_ids is null then
        raise exception using
            errcode = 'PT009',
            message = 'a redrive needs the ids of events',
            hint = 'Use audit.redrive_dead_letters().';
    end if;
    perform audit_internal.check_times(since, until);
    insert into audit.replay (destination_id, since, until, event_ids, redrive, reason)
    values (found_id, since, until, event_ids, coalesce(redrive, false), reason)
    returning id into new_id;
    insert into audit.cursor (destination_id, replay_id, system_identifier, batch_from, batch_to, restored_id)
    values (found_id, new_id, audit_internal.system_identifier(), '1:1:', pg_current_snapshot(), audit_internal.restored_id());
    notify pgtrail;
    return new_id;
end
$$;

comment on function audit.replay_events(text, text, timestamptz, timestamptz, bigint[], boolean) is
    'Sends events that pass the destination''s filters again, under the same ids, alongside new ones. Returns the replay''s id. PT002, PT009.';

create or replace function audit.redrive_dead_letters(destination_name text, reason text, event_ids bigint[] default null)
returns bigint
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    chosen bigint[];
begin
    select array_agg(event_id order by event_id)
    into chosen
    from audit.dead_letter
    where destination_id = audit_internal.destination_id(destination_name)
        and delivered_at is null
        and (event_ids is null or event_id = any (event_ids));
    if chosen is null then
        raise exception using
            errcode = 'PT002',
            message = format('destination "%s" has no such dead letter', destination_name),
            hint = 'They are listed by: pgtrail destination show ' || destination_name;
    end if;
    perform audit.replay_events(destination_name, reason, event_ids => chosen, redrive => true);
    return cardinality(chosen);
end
$$;

comment on function audit.redrive_dead_letters(text, text, bigint[]) is
    'Tries dead letters again: all that are not delivered, or those named. Returns how many. PT002, PT009.';

create or replace function audit.rebase_destination(destination_name text, since timestamptz default null)
returns void
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_variable
declare
    found_id bigint := audit_internal.destination_id(destination_name);
begin
    perform audit_internal.check_times(since);
    -- Locked in the same order as in audit_internal.record_delivery(): the cursor first, then the rows that refer to it.
    perform from audit.cursor where destination_id = found_id order by id for update;
    update audit.destination as destination
    set
        since = rebase_destination.since,
        leaving = case when leaving is not null then pg_current_xact_id() end
    where destination.id = found_id;
    -- An unfinished replay has snapshots of the other cluster.
    delete from audit.replay where destination_id = found_id and finished_at is null;
    update audit.cursor
    set
        system_identifier = audit_internal.system_identifier(),
        batch_from = audit_internal.first_snapshot(since),
        batch_to = null,
        last_sent_id = 0,
        sent_ahead = '{}',
        restored_id = audit_internal.restored_id(),
        takes_restored = since is not null,
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
    'Restarts a destination in a database that was restored: from now on, or with all events since a time, some of which it may have received before. PT002, PT009.';
