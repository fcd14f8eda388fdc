\set n random(1, :rows)
update wide set number_1 = number_1 + 1 where id = lpad(:n::text, 32, '0')::uuid;
