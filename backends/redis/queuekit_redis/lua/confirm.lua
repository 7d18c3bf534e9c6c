-- confirm: jobs that are in the other store now are removed here
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
-- ARGV[1] epoch  ARGV[2] batch  ARGV[3 …] ids
-- RETURNS {0, removed, {active id …}} · {1, stored epoch}: another mover's
-- COST O(jobs of the call and of the batch · log n)
-- SINCE 1.0
-- USES base run job unique drop ended lines moves outs letgo shelf
local other = foreign(ARGV[1])
if other then return {1, other} end
call('HDEL', k_batches, '') -- shrinks, so that a full server lets its jobs go
local batch, active, gone, others = ARGV[2], {}, {}, {}
local someone = call('EXISTS', k_awaited) == 1
for from = 3, #ARGV, 1000 do
  local to = math.min(from + 999, #ARGV)
  local outs, runs = call('HMGET', k_out, unpack(ARGV, from, to)), call('HMGET', k_run, unpack(ARGV, from, to))
  for i = 1, #outs do
    local id, bits, stands = ARGV[from + i - 1], runs[i] and byte(runs[i], 3), true
    if not outs[i] or not bits then
      local j = load(id)
      stands, bits = j ~= nil, j and j.bits
      if j and (j.state == ACTIVE or j.state == LENT) then
        active[#active + 1], stands = id, false
      elseif j and not outs[i] then
        leave(id, j)
      end
    end
    if stands then
      if has(bits, 16) then release(id) end
      if someone then dismiss(id) end
      gone[#gone + 1] = id
      if outs[i] and outs[i] ~= batch and outs[i] ~= others[#others] then others[#others + 1] = outs[i] end
    end
  end
end
drop(gone)
many('HDEL', k_out, gone)
for _, id in ipairs(out_of(batch, listed(call('HGET', k_batches, batch)))) do put_back(id) end
call('HDEL', k_batches, batch)
for _, b in ipairs(others) do -- their ids came in this call: of such a batch nothing may be left
  if #out_of(b, listed(call('HGET', k_batches, b))) == 0 then call('HDEL', k_batches, b) end
end
return {0, #gone, active}
