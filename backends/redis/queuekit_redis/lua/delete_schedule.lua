-- delete_schedule: remove a schedule, if what was read is still what there is
-- KEYS[1] vars       hash: counters and limits
-- KEYS[2] schedules  zset of score 0: id
-- KEYS[3] rules      hash: id -> definition
-- KEYS[4] slots      hash: id -> what firing moves
-- KEYS[5] due        zset: id, next slot ms
-- ARGV[1] id  ARGV[2] rev that was read ('' whatever it is)
-- RETURNS {0, removed} · {1, rev} another one · {2, home, to} moved
-- COST O(log n)
-- SINCE 1.0
-- USES base
local vars, id = call('HMGET', k_vars, 'home', 'to', 'deleted'), ARGV[1]
if vars[1] then return {2, vars[1], vars[2]} end
local slot = call('HGET', k_slots, id)
if not slot then return {0, 0} end
local rev = parse('<I8', slot)
if ARGV[2] ~= '' and tonumber(ARGV[2]) ~= rev then return {1, rev} end
call('ZREM', k_schedules, id) -- shrinks, so that a full server lets the rest of the script through
call('ZREM', k_due, id)
call('HDEL', k_slots, id)
call('HDEL', k_rules, id)
if rev > tonumber(vars[3] or 0) then call('HSET', k_vars, 'deleted', text(rev)) end -- the next one has another rev
return {0, 1}
