create function empty.record_nothing()
returns trigger
language plpgsql
as $$
begin
    return null;
end
$$;

create trigger record_nothing
    after insert or update or delete on empty.api_key
    for each row execute function empty.record_nothing();

create trigger record_nothing
    after insert or update or delete on empty.wide
    for each row execute function empty.record_nothing();

create trigger record_nothing
    after insert or update or delete on empty.narrow
    for each row execute function empty.record_nothing();
