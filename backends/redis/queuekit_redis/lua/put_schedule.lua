-- put_schedule: keep a schedule as it is, if what was read is still what there is
-- KEYS[1] vars       hash: counters and limits
-- KEYS[2] schedules  zset of score 0: id
-- KEYS[3] rules      hash: id -> definition
-- KEYS[4] slots      hash: id -> what firing moves
-- KEYS[5] due        zset: id, next slot ms
-- KEYS[6] marker     zset: '0' while there may be work
-- ARGV[1] clock shift ms  ARGV[2] id  ARGV[3] rev that was read, 0 none  ARGV[4] next slot ms ('' none)
-- ARGV[5] what follows the rev in slots  ARGV[6] definition
-- RETURNS {0, rev, 1 where it is the queue's first} kept, now or by an earlier try of this call
--         {1, rev} another one · {2, home, to} moved
-- COST O(log n)
-- SINCE 1.0
-- USES base plans
local vars, id, known = call('HMGET', k_vars, 'home', 'to', 'deleted'), ARGV[2], tonumber(ARGV[3])
if vars[1] then return {2, vars[1], vars[2]} end
local slot = call('HGET', k_slots, id)
local rev = slot and parse('<I8', slot) or 0
if rev > known and sub(slot, 9) == ARGV[5] and call('HGET', k_rules, id) == ARGV[6] then return {0, rev, 0} end
if rev ~= known then return {1, rev} end
local first = call('EXISTS', k_schedules) == 0 and 1 or 0
if slot then call('ZREM', k_due, '') end -- shrinks, so that a full server lets a schedule be paused
rev = math.max(clock(ARGV[1]), (slot and rev or tonumber(vars[3] or 0)) + 1)
call('HSET', k_rules, id, ARGV[6])
call('ZADD', k_schedules, 0, id)
keep_slot(id, ARGV[4], pack('<I8', rev) .. ARGV[5])
call('ZADD', k_marker, 0, '0')
return {0, rev, first}
