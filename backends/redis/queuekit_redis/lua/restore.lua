-- restore: jobs that were checked out go back to their lines and places
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
-- KEYS[21] out       hash: id -> batch it is checked out under
-- KEYS[22] batches   hash: batch -> ids checked out
-- ARGV[1] epoch  ARGV[2] batch  ARGV[3] '1': only these ids  ARGV[4 …] ids
-- RETURNS {0, how many} · {1, stored epoch}: another mover's
-- COST O(jobs of the batch · log n)
-- SINCE 1.0
-- USES base run job unique drop ended lines moves outs shelf
local other = foreign(ARGV[1])
if other then return {1, other} end
call('HDEL', k_batches, '') -- shrinks, so that a full server lets the rest of the script through
local batch = ARGV[2]
local all = out_of(batch, listed(call('HGET', k_batches, batch)))
local wanted, back, left = {}, 0, {}
for a = 4, #ARGV do wanted[ARGV[a]] = true end
for i = 1, #all do
  if ARGV[3] == '1' and not wanted[all[i]] then
    left[#left + 1] = all[i]
  else
    put_back(all[i])
    back = back + 1
  end
end
if #left > 0 then call('HSET', k_batches, batch, table.concat(left, ',')) else call('HDEL', k_batches, batch) end
return {0, back}
