-- checkout: jobs leave their lines on the way to another store
-- KEYS[1] jobs       hash: id -> entry
-- KEYS[2] run        hash: id -> what changes
-- KEYS[3] opts       hash: id -> what is not default
-- KEYS[4] notes      hash: kind and id -> bytes
-- KEYS[5] vars       hash: counters and limits
-- KEYS[6] ready      zset: id, score of (priority, place)
-- KEYS[7] suspect    zset: as ready
-- KEYS[8] delayed    zset: id, due ms
-- KEYS[9] parked     zset: id, ms
-- KEYS[10] blocked   zset: id, ms
-- KEYS[11] completed zset: id, ended ms (+ 2^45: own retention)
-- KEYS[12] failed    zset: as completed
-- KEYS[13] cancelled zset: as completed
-- KEYS[14] kept      zset of score 0: state|label|ended|id
-- KEYS[15] unique    hash: key -> holder
-- KEYS[16] expiring  zset: id, expires ms
-- KEYS[17] awaited   hash: id -> 1, and the channel that tells of ends
-- KEYS[18] out       hash: id -> batch it is checked out under
-- KEYS[19] batches   hash: batch -> ids checked out
-- ARGV[1] epoch  ARGV[2] batch  ARGV[3] limit  ARGV[4] '1': ended jobs too  ARGV[5] clock shift ms
-- RETURNS {0, epoch, ids, entries, runs, extras, marks}: a run, the score of a ready job without, or false; marks of
--         lib/parcel. {1, stored epoch}: another mover's
-- COST O(limit · log n), at most 1000, and of ended jobs six times the limit are looked at
-- SINCE 1.0
-- USES base run extras moves outs parcel
local other = foreign(ARGV[1])
if other then return {1, other} end
call('HDEL', k_batches, '') -- shrinks, so that a full server lets its jobs leave
local batch, now, known = ARGV[2], clock(ARGV[5]), call('HGET', k_batches, ARGV[2])
if known then
  parcels(out_of(batch, listed(known)), now)
else
  -- USES depart
  depart(tonumber(ARGV[3]), ARGV[4] == '1', now)
  local outs = {}
  for i = 1, #ids do outs[2 * i - 1], outs[2 * i] = ids[i], batch end
  many('HSET', k_out, outs)
  if #ids > 0 then call('HSET', k_batches, batch, table.concat(ids, ',')) end
end
return {0, ARGV[1], ids, entries, runs, mores, marks}
