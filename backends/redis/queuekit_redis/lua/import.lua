-- import: jobs of another store come in, in their real state
-- KEYS[1] jobs       hash: id -> entry
-- KEYS[2] run        hash: id -> what changes
-- KEYS[3] opts       hash: id -> what is not default
-- KEYS[4] notes      hash: kind and id -> bytes
-- KEYS[5] vars       hash: counters and limits
-- KEYS[6] ready      zset: id, score of (priority, place)
-- KEYS[7] suspect    zset: as ready
-- KEYS[8] delayed    zset: id, due ms
-- KEYS[9] active     zset: id, lease end ms; 0 of one that a mover holds
-- KEYS[10] parked    zset: id, ms
-- KEYS[11] blocked   zset: id, ms
-- KEYS[12] completed zset: id, ended ms (+ 2^45: own retention)
-- KEYS[13] failed    zset: as completed
-- KEYS[14] cancelled zset: as completed
-- KEYS[15] kept      zset of score 0: state|label|ended|id
-- KEYS[16] unique    hash: key -> holder
-- KEYS[17] utime     zset: unique key, free at ms
-- KEYS[18] expiring  zset: id, expires ms
-- KEYS[19] awaited   hash: id -> 1, and the channel that tells of ends
-- KEYS[20] marker    zset: '0' while there may be work
-- KEYS[21] taken     hash: batch -> I4 length and text of the clashes, ids taken in
-- KEYS[22] mover     hash: by, mark, base, note
-- ARGV[1] epoch  ARGV[2] batch  ARGV[3] clock shift ms  ARGV[4] note  ARGV[5] all ids in order, with commas
-- ARGV[6] how many plain ready jobs follow, each: id, entry, score  ARGV[7] how many keys after them, each: key, id, ms
-- ARGV[8 …] plain jobs, keys, then other jobs as lib/arrive reads them
-- RETURNS {0, clashes}, each 'i' or 'k' for id or key, the id, ',', who is in the way, ';' · {1, stored epoch} another mover's
-- COST O(jobs · log n)
-- SINCE 1.0
-- USES base run job unique drop moves letgo arrive
local other = foreign(ARGV[1])
if other then return {1, other} end
local before = call('HGET', k_taken, ARGV[2])
if before then return {0, sub(before, 5, 4 + parse('<I4', before))} end
call('HSET', k_mover, 'note', ARGV[4]) -- grows, so that a full server refuses the whole call
local now, plain, keys = clock(ARGV[3]), tonumber(ARGV[6]), tonumber(ARGV[7])
take_plain(plain)
take_others(8 + 3 * plain + 3 * keys, now)
for a = 8 + 3 * plain, 7 + 3 * plain + 3 * keys, 3 do
  if tonumber(ARGV[a + 2]) > now and not holder_of(ARGV[a], now) then hold(ARGV[a], ARGV[a + 1], ARGV[a + 2]) end
end
local ids, said = ARGV[5], table.concat(clashes)
if said ~= '' then
  local left = {}
  for _, id in ipairs(listed(ids)) do
    if not refused[id] then left[#left + 1] = id end
  end
  ids = table.concat(left, ',')
end
call('HSET', k_taken, ARGV[2], pack('<I4', #said) .. said .. ids)
if not call('HGET', k_vars, 'home') then call('ZADD', k_marker, 0, '0') end
return {0, said}
