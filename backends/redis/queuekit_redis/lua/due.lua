-- due: the schedules whose next slot has come, and when the next one does
-- KEYS[1] vars   hash: counters and limits
-- KEYS[2] rules  hash: id -> definition
-- KEYS[3] slots  hash: id -> what firing moves
-- KEYS[4] due    zset: id, next slot ms
-- ARGV[1] clock shift ms  ARGV[2] limit
-- RETURNS {now, next slot of all others or false, {id …}, {slot …}, {definition …}}
-- COST O(limit + log n)
-- SINCE 1.0
-- USES base slots
local now = clock(ARGV[1])
if call('HEXISTS', k_vars, 'home') == 1 then return {now, false, {}, {}, {}} end
local ids, slots, rules = shown(call('ZRANGEBYSCORE', k_due, '-inf', now, 'LIMIT', 0, ARGV[2]))
return {now, call('ZRANGE', k_due, #ids, #ids, 'WITHSCORES')[2] or false, ids, slots, rules}
