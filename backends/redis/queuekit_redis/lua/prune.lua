-- prune: retention and housekeeping, or the old jobs of one state
-- KEYS[1] jobs       hash: id -> entry
-- KEYS[2] run        hash: id -> what changes
-- KEYS[3] opts       hash: id -> what is not default
-- KEYS[4] notes      hash: kind and id -> bytes
-- KEYS[5] vars       hash: counters and limits
-- KEYS[6] ops        hash: actor -> last call
-- KEYS[7] ready      zset: id, score of (priority, place)
-- KEYS[8] suspect    zset: as ready
-- KEYS[9] delayed    zset: id, due ms
-- KEYS[10] active    zset: id, lease end ms
-- KEYS[11] parked    zset: id, ms
-- KEYS[12] blocked   zset: id, ms
-- KEYS[13] completed zset: id, ended ms (+ 2^45: own retention)
-- KEYS[14] failed    zset: as completed
-- KEYS[15] cancelled zset: as completed
-- KEYS[16] kept      zset of score 0: state|label|ended|id
-- KEYS[17] unique    hash: key -> holder
-- KEYS[18] utime     zset: unique key, free at ms
-- KEYS[19] expiring  zset: id, expires ms
-- KEYS[20] awaited   hash: id -> 1, and the channel that tells of ends
-- KEYS[21] marker    zset: '0' while there may be work
-- ARGV[1] clock shift ms  ARGV[2] limit  ARGV[3] state's number, 0: housekeeping  ARGV[4] older than ms
-- ARGV[5] ms an actor is remembered  ARGV[6] how many jobs of a line without a time are looked at
-- RETURNS {removed, more}
-- COST O(limit · log n), and 200 actors a call
-- SINCE 1.0
-- USES base run job unique drop ended lines remove sweep
call('ZREM', k_active, '') -- shrinks, so that a full server lets the rest of the script through
local now, limit, state = clock(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
if state > 0 then return older(state, now - ARGV[4], limit, tonumber(ARGV[6])) end
forget(now - ARGV[5])
local more = release_keys(now, limit)
more = expire_due(now, limit) or more
local removed, left = outlived(now, limit)
return {removed, (more or left) and 1 or 0}
