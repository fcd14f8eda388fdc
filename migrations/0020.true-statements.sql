-- depends: 0019.restored

set local role audit_owner;

alter table audit.format
    add column success_codes integer[] not null default '{}';

comment on column audit.format.success_codes is
    'Codes in the body that mean delivered, with one of success_statuses; used where `reads` is code.';

-- Times that no calendar has (infinite, before Christ, in the year 20000): what they let through stays the same.
update audit.destination
set since = case when since < timestamptz '0001-01-03 00:00:00+00' then null else timestamptz '9999-12-30 00:00:00+00' end
where since not between timestamptz '0001-01-03 00:00:00+00' and timestamptz '9999-12-30 00:00:00+00';

update audit.legal_hold
set
    since = case
        when since < timestamptz '0001-01-03 00:00:00+00' then null
        else least(since, timestamptz '9999-12-30 00:00:00+00')
    end,
    until = case
        when until > timestamptz '9999-12-30 00:00:00+00' then null
        else greatest(until, timestamptz '0001-01-03 00:00:00+00')
    end
where since not between timestamptz '0001-01-03 00:00:00+00' and timestamptz '9999-12-30 00:00:00+00'
    or until not between timestamptz '0001-01-03 00:00:00+00' and timestamptz '9999-12-30 00:00:00+00';

update audit.replay
set
    since = least(greatest(since, timestamptz '0001-01-03 00:00:00+00'), timestamptz '9999-12-30 00:00:00+00'),
    until = least(greatest(until, timestamptz '0001-01-03 00:00:00+00'), timestamptz '9999-12-30 00:00:00+00')
where since not between timestamptz '0001-01-03 00:00:00+00' and timestamptz '9999-12-30 00:00:00+00'
    or until not between timestamptz '0001-01-03 00:00:00+00' and timestamptz '9999-12-30 00:00:00+00';

update audit.retention
set keep = interval '1000 years'
where keep > interval '1000 years';

alter table audit.destination
    add constraint since_is_of_the_calendar check (
        since between timestamptz '0001-01-03 00:00:00+00' and timestamptz '9999-12-30 00:00:00+00'
    );

alter table audit.legal_hold
    add constraint times_are_of_the_calendar check (
        since >= timestamptz '0001-01-03 00:00:00+00' and since <= timestamptz '9999-12-30 00:00:00+00'
        and until >= timestamptz '0001-01-03 00:00:00+00' and until <= timestamptz '9999-12-30 00:00:00+00'
    );

alter table audit.replay
    add constraint times_are_of_the_calendar check (
        since >= timestamptz '0001-01-03 00:00:00+00' and since <= timestamptz '9999-12-30 00:00:00+00'
        and until >= timestamptz '0001-01-03 00:00:00+00' and until <= timestamptz '9999-12-30 00:00:00+00'
    );

alter table audit.retention
    add constraint keep_is_at_most_a_thousand_years check (keep <= interval '1000 years');
