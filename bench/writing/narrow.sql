\set n random(1, :rows)
update narrow set rpm_limit = rpm_limit + 1 where id = lpad(:n::text, 32, '0')::uuid;
