-- take_schedules: schedules of the store that the queue comes from, as they are there
-- KEYS[1] vars       hash: counters and limits
-- KEYS[2] schedules  zset of score 0: id
-- KEYS[3] rules      hash: id -> definition
-- KEYS[4] slots      hash: id -> what firing moves
-- KEYS[5] due        zset: id, next slot ms
-- KEYS[6] marker     zset: '0' while there may be work
-- ARGV[1] epoch  ARGV[2 …] a schedule: id, rev, next slot ms ('' none), what follows the rev in slots, definition
-- RETURNS {0} · {1, stored epoch} another mover's
-- COST O(schedules · log n)
-- SINCE 1.0
-- USES base moves plans
local other = foreign(ARGV[1])
if other then return {1, other} end
for a = 2, #ARGV, 5 do
  local id, rev = ARGV[a], tonumber(ARGV[a + 1])
  local slot = call('HGET', k_slots, id)
  if not slot or parse('<I8', slot) < rev then
    call('HSET', k_rules, id, ARGV[a + 4])
    call('ZADD', k_schedules, 0, id)
    keep_slot(id, ARGV[a + 2], pack('<I8', rev) .. ARGV[a + 3])
  end
end
if call('HEXISTS', k_vars, 'home') == 0 then call('ZADD', k_marker, 0, '0') end
return {0}
