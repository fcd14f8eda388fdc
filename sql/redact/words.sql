-- The words that names are made of.

create or replace function audit_internal.name_words(name text)
returns text
language sql
immutable
strict
parallel safe
as $$
    select pg_catalog.btrim(
        audit_internal.words_of(
            pg_catalog.regexp_replace(
                pg_catalog.replace(name, 'OAuth', 'Oauth'), '([A-Z]+)([A-Z][a-z])', E'\\1_\\2', 'g'
            )
        ),
        '_'
    )
$$;

comment on function audit_internal.name_words(text) is
    'The words of a name, also where capitals stand together: `MCPServerTable` is mcp_server_table.';

create or replace function audit_internal.table_word(words text)
returns text
language sql
immutable
strict
parallel safe
as $$
    select case
        when word ~ '(settings|news|series|lens|ss|us|is)$' then word
        when word ~ 'ies$' then pg_catalog.regexp_replace(word, 'ies$', 'y')
        when word ~ '(ss|sh|ch|x|us)es$' then pg_catalog.regexp_replace(word, 'es$', '')
        else pg_catalog.regexp_replace(word, 's$', '')
    end
    from (select pg_catalog.regexp_replace(words, '_(table|tbl)$', '')) as bare (word)
$$;

comment on function audit_internal.table_word(text) is
    'What one row of a table is called: its words in the singular, without a last word `table`.';

create or replace function audit_internal.type_kind(type_oid oid)
returns text
language sql
stable
as $$
    select case
        when type.oid in ('pg_catalog.json'::pg_catalog.regtype, 'pg_catalog.jsonb'::pg_catalog.regtype) then 'json'
        when type.typcategory = 'A' then 'array'
        when type.oid = 'pg_catalog.bytea'::pg_catalog.regtype then 'bytes'
        when type.typtype = 'd' then audit_internal.type_kind(type.typbasetype)
        when type.typcategory in ('S', 'E') then 'text'
        when type.typcategory = 'N' then 'number'
        when type.typcategory in ('D', 'T') then 'time'
        when type.typcategory = 'B' then 'bool'
        else 'other'
    end
    from pg_catalog.pg_type as type
    where type.oid = type_oid
$$;

comment on function audit_internal.type_kind(oid) is 'A type in one word: json, array, bytes, text, number, time, bool, other.';

create or replace function audit_internal.split_words(words text)
returns text
language plpgsql
immutable
strict
parallel safe
as $$
declare
    -- General words of tables. Compounds of two that are one word (`password`) are here, so that they stay whole.
    known constant jsonb := pg_catalog.to_jsonb(pg_catalog.string_to_array(
        '2fa access account action activation active activity address addon admin advert agent agreement alert alias allow allowed analytics announcement answer '
        'api app application approval archive area article asset assignment attachment attempt attendee attribute audit auth '
        'authenticator authorization auto availability avatar backup badge balance bank banner base basket batch benefit bill billing '
        'blacklist blacklisted block blocked blocklist blog board body book booking bookmark bounce branch brand broadcast browser budget bulk bundle button cache cached calendar '
        'call campaign cancellation capacity card cart case catalog category certificate challenge change channel chart chat check checkin checklist checkout '
        'checkpoint city class client cloud cluster code collection color column comment commission company component computer condition config '
        'configuration confirmation connection connector consent contact container content contract control conversation copy cost country coupon course '
        'credential credit cron currency custom customer dashboard data database dataset date day deal default delivery demo department deploy deployment deposit description '
        'design destination detail device digest directory disabled discount discussion dispute document domain donation download draft driver '
        'email employee endpoint engine entity entry environment equipment error escalation estimate event exception exchange execution expense experiment export '
        'exporter extension external extra facet factor failed favorite feature fee feed feedback field file filter financial firewall flag floor flow folder follow follower '
        'form format forum framework friend function fund gallery gateway gift giftcard global goal grade grant grid group guardrail guest guide '
        'handler hardware hash header health help history holiday host hostname hour house identity image import inbox incident incoming index industry info ingestion inherited inbound '
        'input instance institution instruction insurance integration interaction interest internal invitation invite invoice issue item job '
        'journal key keyword keystore keystone knowledge label language layout lead league lease ledger lesson level library license limit line link list listing livestream load local location '
        'lock log login logo lookup mail mailbox mailing maintenance manager map market marketplace master match material media medium meeting member '
        'membership menu merchant merge message meta metadata meter method metric milestone mobile model module monitor month movement name network '
        'newsletter node note notebook notice notification number oauth oauth2 object offer office onboarding option order org organisation organization organizer origin otp outbound outstanding '
        'outbox outgoing output overdue override owner package page paper parameter parent participant partner party passcode passkey password patient payment payout '
        'payroll penalty pending people period permission person personal phone photo picture pipeline place plan platform player playlist plugin point policy poll pool popup portal position post pref preference '
        'prepaid preset price pricing printer priority private process product profile program progress project promo promotion prompt property proposal provider provisioning proxy public '
        'publication publisher purchase push qualification quality quantity query question questionnaire queue queued quiz quota quote rate rating reaction reader reason receipt recipient recipe record recording recovery recurring '
        'redirect referral refresh refund region registration registry relation release reminder remote rental repository report reporter request requirement research reservation reset resource '
        'response restriction result retention retry return revenue review revision revoked reward ride right risk role room route row rule run salary sale sample saml scan schedule scheduled '
        'schema school scope score scrape screen script search season seat seating secret section security segment sensor sent series server service session setting settings setup share shared shift '
        'shipment shipping shop signal signature signup site skill slot snapshot social software source space spending sponsor sport sso staff stage standard state statement station statistic status step stock '
        'storage store story strategy stream string student style subject submission subscriber subscription subtask super supplier supply support survey system table tag target task tax team '
        'template temporary tenant term terminal test testimonial text theme thread threshold thumbnail ticket tier time timeline timeout timesheet timezone title token tool topic totp tour tracker tracking trade training transaction transfer '
        'transition translation transport trial trigger trip trusted type u2f unit update upload usage user username validation validator value variable variant variation vault vehicle vendor venue verification version video view '
        'virtual visit visitor vote voucher wait waiting waitlist wallet warehouse warning webauthn webhook webinar website week widget window wishlist withdrawal word work worker workflow workshop workspace year zone '
        'baseline bearer bot business changelog deadline guideline headline offline online combined cookie country encryption fingerprint hotp jwt keyboard ldap magic mfa nonce once pairing passport pin signing sms sub taxonomy timestamp verifier',
        ' '
    ));
    max_length constant integer := 40;
    part text;
    piece text;
    best text[];
    pieces integer[];
    split text[] := '{}';
begin
    foreach part in array pg_catalog.string_to_array(words, '_') loop
        if pg_catalog.length(part) between 6 and max_length and not (known ? part or known ? pg_catalog.rtrim(part, 's')) then
            best := '{}';
            pieces := '{}';
            for ending in 3..pg_catalog.length(part) loop
                -- Of words that fill the same letters: as few as can be, so the longest.
                for start in case when ending > 15 then ending - 15 else 1 end..ending - 2 loop
                    piece := pg_catalog.substr(part, start, ending - start + 1);
                    if (start = 1 or best[start - 1] is not null)
                        and (known ? piece or pg_catalog.right(piece, 1) = 's' and known ? pg_catalog.left(piece, -1))
                        and coalesce(pieces[start - 1], 0) + 1 < coalesce(pieces[ending], 100)
                    then
                        best[ending] := pg_catalog.concat_ws('_', best[start - 1], piece);
                        pieces[ending] := coalesce(pieces[start - 1], 0) + 1;
                    end if;
                end loop;
            end loop;
            part := coalesce(best[pg_catalog.length(part)], part);
        end if;
        split := split || part;
    end loop;
    return pg_catalog.array_to_string(split, '_');
end
$$;

comment on function audit_internal.split_words(text) is
    'The words of a name with those taken apart that are run together (`teamapitoken` is team_api_token), if all of it is known words.';
