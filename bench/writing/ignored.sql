\set n random(1, :rows)
update api_key set spend = spend + 0.01, last_used_at = now() where id = lpad(:n::text, 32, '0')::uuid;
