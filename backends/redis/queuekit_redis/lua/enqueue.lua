-- enqueue: keep up to 1000 jobs, all or none
-- KEYS[1] jobs       hash: id -> entry
-- KEYS[2] run        hash: id -> what changes
-- KEYS[3] opts       hash: id -> what is not default
-- KEYS[4] vars       hash: counters and limits
-- KEYS[5] ops        hash: actor -> last call
-- KEYS[6] ready      zset: id, score of (priority, place)
-- KEYS[7] suspect    zset: as ready
-- KEYS[8] delayed    zset: id, due ms
-- KEYS[9] unique     hash: key -> holder
-- KEYS[10] utime     zset: unique key, free at ms
-- KEYS[11] expiring  zset: id, expires ms
-- KEYS[12] marker    zset: '0' while there may be work
-- KEYS[13] out       hash: id -> batch it is checked out under
-- ARGV[1] actor  ARGV[2] n  ARGV[3] clock shift ms  ARGV[4] '0': all flags are 0, '2': some job has a
--         unique key, '1' otherwise, '3': the caller asked the other store  ARGV[5] how many jobs
-- ARGV[6 …] a job: id, blob (B flags, I2 priority, I2 version, B length and task, body); flags 1: then when it is due;
--           flags 4: then opts from its second field on, and when it expires. Flags 2 is lifo.
-- RETURNS {0 new | 1 replayed, now, receipts, [1: the queue was not there]}; receipts '' all created, else a word for
--         each: '+' created, '=' its id was there, or the holder of its unique key
--         {2, last n} stale · {3, home, to} moved · {4, waiting, max} full · {5, id, key} conflict
--         {6, to} jobs still come from there, and the caller did not ask
-- COST O(jobs · log n)
-- SINCE 1.0
-- USES base op
local actor, n, now, count = ARGV[1], tonumber(ARGV[2]), clock(ARGV[3]), tonumber(ARGV[5])
local answer, last = recall(actor, n)
if answer == false then return {2, last} end
if answer then return {1, now, answer} end
local vars = call('HMGET', k_vars, 'home', 'to', 'max_size', 'place', 'front', 'enqueued')
if vars[1] and vars[1] ~= 'arriving' then return {3, vars[1], vars[2]} end
if vars[2] and ARGV[4] ~= '3' then return {6, vars[2]} end
local place, front, made = tonumber(vars[4] or 0), tonumber(vars[5] or 0), 0
local created, receipts, known = pack('<I8', now), {}, false
if ARGV[4] == '0' and not vars[3] then
  local ready = {}
  for i = 1, count do
    local id, blob = ARGV[4 + 2 * i], ARGV[5 + 2 * i]
    if call('HSETNX', k_jobs, id, created .. blob) == 1 then
      made = made + 1
      ready[2 * made - 1] = text((byte(blob, 2) + byte(blob, 3) * 256) * BAND + MID + place + made)
      ready[2 * made], receipts[i] = id, '+'
    else
      known, receipts[i] = true, '='
    end
  end
  many('ZADD', k_ready, ready)
  if made > 0 then
    call('ZADD', k_marker, '0', '0')
    call('HSET', k_vars, 'place', text(place + made), 'enqueued', text((vars[6] or 0) + made))
  end
else
  -- USES when run job unique spec insert
  local refusal = insert(6, count, vars[3], place, front, tonumber(vars[6] or 0), created, receipts, now)
  if refusal then return refusal end
  for i = 1, count do known = known or receipts[i] ~= '+' end
end
answer = known and table.concat(receipts, ',') or ''
remember(actor, n, now, answer)
return {0, now, answer, not vars[6] and 1 or nil}
