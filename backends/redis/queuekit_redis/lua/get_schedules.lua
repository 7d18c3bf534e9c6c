-- get_schedules: those of some ids
-- KEYS[1] rules  hash: id -> definition
-- KEYS[2] slots  hash: id -> what firing moves
-- ARGV[1 …] ids
-- RETURNS slot and definition of each; false, false where there is none
-- COST O(ids)
-- SINCE 1.0
-- USES base
local found = {}
for i = 1, #ARGV do
  found[2 * i - 1], found[2 * i] = call('HGET', k_slots, ARGV[i]), call('HGET', k_rules, ARGV[i])
end
return found
