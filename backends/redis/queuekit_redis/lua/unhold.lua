-- unhold: jobs that a mover holds go, or wait again as those of a dead worker
-- KEYS[1] jobs      hash: id -> entry
-- KEYS[2] run       hash: id -> what changes
-- KEYS[3] opts      hash: id -> what is not default
-- KEYS[4] notes     hash: kind and id -> bytes
-- KEYS[5] vars      hash: counters and limits
-- KEYS[6] ready     zset: id, score of (priority, place)
-- KEYS[7] suspect   zset: as ready
-- KEYS[8] active    zset: id, lease end ms; 0 of one that a mover holds
-- KEYS[9] unique    hash: key -> holder
-- KEYS[10] utime    zset: unique key, free at ms
-- KEYS[11] expiring zset: id, expires ms
-- KEYS[12] awaited  hash: id -> 1, and the channel that tells of ends
-- KEYS[13] marker   zset: '0' while there may be work
-- ARGV[1] epoch  ARGV[2] '1': they wait again  ARGV[3] '1': only these  ARGV[4 …] ids
-- RETURNS {0, {id …}} · {1, stored epoch}: another mover's
-- COST O(jobs · log n), at most 1000
-- SINCE 1.0
-- USES base run job drop letgo
local stored = call('HGET', k_vars, 'epoch') or '0'
if stored ~= ARGV[1] then return {1, stored} end
call('ZREM', k_active, '') -- shrinks, so that a full server lets the rest of the script through
local held = ARGV[3] ~= '1' and call('ZRANGEBYSCORE', k_active, 0, 0, 'LIMIT', 0, 1000) or {}
for a = 4, #ARGV do
  if call('ZSCORE', k_active, ARGV[a]) == '0' then held[#held + 1] = ARGV[a] end
end
for i = 1, #held do
  local id = held[i]
  local j = load(id)
  if j and ARGV[2] == '1' then
    j.state, j.line, j.rev = WAITING, SUSPECT, j.rev + 1
    save(id, j)
    call('ZADD', k_suspect, j.score, id)
  elseif j then
    if has(j.bits, 16) then release(id) end
    dismiss(id)
  end
end
many('ZREM', k_active, held)
if ARGV[2] ~= '1' then drop(held) end
call('ZADD', k_marker, 0, '0')
return {0, held}
