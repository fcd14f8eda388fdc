-- What a month of it writes: more from month to month. Texts meet in ever other combinations.
do $$
declare
    month integer := current_setting('shop.month')::integer;
    texts text[] := array[
        '', ' ', '\N', '\', '"', '''', ',', 'null', '=1+1', E'\ttab', E'a\nb', E'a\r\nb', E'\r', 'é', 'ß', '日本語', '𝔘', E'e\u0301', E'\u2028', E'\ufeff',
        E'\ufffe', E'\x01\x0b\x1f\x7f', '\u000B', '%s', '{}', '[]', '*', 'a/b=c', '../..', '<b>', '__HIVE_DEFAULT_PARTITION__', repeat('x', 5000), null
    ];
    orgs text[] := array['acme', 'acme', 'acme', 'globex', 'globex', 'o''brien & sons', 'a/b=c', 'month=2025-01', '日本', 'Ü', ' ', 'part=0', '%2F', 'initech', 'hooli', null];
    json jsonb[] := array[
        '{"a": 1, "bb": "x"}', '{"a": 1.10, "n": 1e400, "big": 123456789012345678901234567890.5, "small": -0.000000000000000000001}',
        '{"é": "\u001f\\ \"", "": null, "token": "5ecret"}', '{"o": {"x": 1, "y": {"z": [1, {"q": null}]}}, "a": true}',
        '{"o": {"x": 1.0, "y": {"z": [2]}, "password": "5ecret"}}', '[1, [2, []], {}, "", null]', '"text"', '9007199254740993', 'null', null
    ];
    org text;
    key_id bigint;
    measure_id uuid;
begin
    insert into shop.organization select distinct each, upper(each) || ' 株式会社' from unnest(orgs) as each where each is not null
    on conflict (id) do update set name = shop.organization.name || month;
    for n in 1 .. 60 + 30 * month loop
        org := orgs[1 + (n * 7 + month) % cardinality(orgs)];
        perform audit.set_actor(
            coalesce(texts[1 + n % 9], 'usr_' || n % 12), texts[1 + (n * 5) % cardinality(texts)], (array['user', 'service'])[1 + n % 2],
            (array[null, '192.0.2.7', '2001:db8::1'])[1 + n % 3]::inet, texts[1 + (n * 11) % cardinality(texts)], 'req_' || n, texts[1 + (n * 13) % cardinality(texts)]
        );
        insert into shop.api_key (org_id, name, scopes, key_hash, rpm_limit, budget, metadata)
        values (
            org, texts[1 + n % cardinality(texts)], texts[1 + n % 7 : n % 11], 'argon2id$' || n, nullif(n % 5, 0), n, json[1 + n % cardinality(json)]
        )
        returning id into key_id;
        update shop.api_key set rpm_limit = n, metadata = json[1 + (n + 1) % cardinality(json)], scopes = array_append(scopes, texts[1 + (n * 3) % cardinality(texts)])
        where id = key_id;
        update shop.api_key set budget = budget + 1 where id = key_id;
        update shop.api_key set key_hash = 'argon2id$' || -n, disabled = not disabled where id = key_id;
        perform audit.set_actor(null);
        insert into shop.measure (org_id, ratio, amount, large, counts, matrix, content, raw, measured_at, valid, network, note)
        values (
            org, (array['NaN', 'Infinity', '-0', '1e-300', '0.1', null])[1 + n % 6]::double precision,
            (array['NaN', '-Infinity', '1e60', '123456789012345678901234567890.123456789', '1.10', null])[1 + n % 6]::numeric,
            (array[9223372036854775807, -9223372036854775808, 9007199254740993, 0, null])[1 + n % 5],
            (array['{}', '{1,NULL,9223372036854775807}', null])[1 + n % 3]::bigint[], (array['{{1,2},{3,4}}', '[0:1]={7,8}', null])[1 + n % 3]::integer[],
            decode(md5(n::text), 'hex'), (array['{"a": 1, "a": 2}', '{ "b" : [1.0] }', null])[1 + n % 3]::json,
            (array['infinity', '4713-01-01 BC', '2025-01-31 23:59:59.999999+00', null])[1 + n % 4]::timestamptz, '[2025-01-01,infinity)', '10.0.0.0/8',
            texts[1 + (n * 17) % cardinality(texts)]
        )
        returning id into measure_id;
        update shop.measure set note = texts[1 + (n * 19) % cardinality(texts)], amount = n / 7.0 where id = measure_id;
        insert into shop.setting values (coalesce(org, ''), 'name ' || n, json[1 + (n + 2) % cardinality(json)]);
        if n % 3 = 0 then
            delete from shop.measure where id = measure_id;
            delete from shop.api_key where id = key_id;
        end if;
    end loop;
    update shop.setting set value = '{"all": true}' where org_id = 'globex';
    delete from shop.setting where org_id = 'acme';
    truncate shop.setting;
    truncate shop.measure;
end
$$;
