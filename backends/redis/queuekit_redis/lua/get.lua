-- get: whole records of some ids
-- KEYS[1] jobs     hash: id -> entry
-- KEYS[2] run      hash: id -> what changes
-- KEYS[3] opts     hash: id -> what is not default
-- KEYS[4] notes    hash: kind and id -> bytes
-- KEYS[5] vars     hash: counters and limits
-- KEYS[6] ready    zset: id, score of (priority, place)
-- KEYS[7] active   zset: id, lease end ms
-- ARGV[1 …] ids
-- RETURNS {epoch, record …}: false, or {entry, run, extras, score of a fresh ready one | lease end}
-- COST O(ids · log n)
-- SINCE 1.0
-- USES base run job extras record
local reply = {call('HGET', k_vars, 'epoch')}
for i = 1, #ARGV do reply[i + 1] = record(ARGV[i]) end
return reply
