-- obliterate: remove jobs, then the queue itself
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
-- KEYS[22] conf      hash: rev, declared, override
-- KEYS[23] out       hash: id -> batch it is checked out under
-- KEYS[24] batches   hash: batch -> ids checked out
-- KEYS[25] taken     hash: batch -> ids taken in
-- KEYS[26] mover     hash: by, mark, base, note
-- KEYS[27] schedules zset of score 0: id
-- KEYS[28] rules     hash: id -> definition
-- KEYS[29] slots     hash: id -> what firing moves
-- KEYS[30] due       zset: id, next slot ms
-- ARGV[1] '1': also where jobs are active  ARGV[2] limit
-- RETURNS {0, removed, more}; or refused: {1, active}, {2} where it is on the move
-- COST O(limit · log n)
-- SINCE 1.0
-- USES base run job unique drop ended
local was, by = call('HMGET', k_vars, 'home', 'to', 'epoch'), call('HGET', k_mover, 'by')
if was[1] == 'moving' or was[1] == 'arriving' or (not was[1] and was[2]) then return {2} end
local active, limit, removed = call('ZCARD', k_active), tonumber(ARGV[2]), 0
if active > 0 and ARGV[1] ~= '1' then return {1, active} end
for _, key in ipairs({k_schedules, k_rules, k_slots, k_due}) do call('UNLINK', key) end -- at once: they make new jobs
for _, key in ipairs({k_ready, k_suspect, k_delayed, k_active, k_parked, k_blocked, k_completed, k_failed, k_cancelled}) do
  if removed < limit then
    local popped, ids, members = call('ZPOPMIN', key, limit - removed), {}, {}
    for i = 1, #popped, 2 do
      local id = popped[i]
      ids[#ids + 1] = id
      local run = tonumber(popped[i + 1]) >= tonumber(OWN) and key ~= k_ready and key ~= k_suspect and call('HGET', k_run, id)
      if run then members[#members + 1] = member(id, read(run)) end
    end
    local options = #ids > 0 and call('HMGET', k_opts, unpack(ids)) or {}
    for i = 1, #ids do
      if options[i] then free(ids[i], opts(ids[i]), false) end
    end
    many('HDEL', k_awaited, ids)
    many('ZREM', k_expiring, ids)
    drop(ids)
    many('ZREM', k_kept, members)
    removed = removed + #ids
  end
end
local left = call('EXISTS', k_ready, k_suspect, k_delayed, k_active, k_parked, k_blocked, k_completed, k_failed, k_cancelled)
if left > 0 then return {0, removed, 1} end
removed = removed + call('HLEN', k_out) -- what is checked out stands on no line
call('UNLINK', unpack(KEYS))
if was[1] then
  call('HSET', k_vars, 'home', was[1], 'epoch', was[3] or '0')
  if was[2] then call('HSET', k_vars, 'to', was[2]) end
  call('HSET', k_mover, 'by', by or '')
end
return {0, removed, 0}
