-- authority: where a queue lives, as its mover says
-- KEYS[1] conf     hash: rev, declared, override; touched, so that pipelines that watch it are not applied
-- KEYS[2] vars     hash: counters and limits
-- KEYS[3] mover    hash: by, mark, base, note
-- KEYS[4] out      hash: id -> batch it is checked out under
-- KEYS[5] taken    hash: batch -> ids taken in
-- KEYS[6] unique   hash: key -> holder
-- KEYS[7] utime    zset: unique key, free at ms
-- KEYS[8] awaited  hash: id -> 1, and the channel that tells of ends
-- KEYS[9] marker   zset: '0' while there may be work
-- KEYS[10] schedules  zset of score 0: id
-- KEYS[11] rules      hash: id -> definition
-- KEYS[12] slots      hash: id -> what firing moves
-- KEYS[13] due        zset: id, next slot ms
-- ARGV[1] epoch  ARGV[2] by  ARGV[3] home  ARGV[4] to ('' none)  ARGV[5] room  ARGV[6] clock shift ms
-- ARGV[7 …] name of a total and what is added to it
-- RETURNS {0, now, mark, base, {rev, declared, override}, {home, to, epoch}}
--         {1, stored epoch} another mover's · {2} jobs are checked out
-- COST O(1)
-- SINCE 1.0
-- USES base
call('ZREM', k_marker, '-') -- shrinks, so that a full server lets its queues move away
local vars = call('HMGET', k_vars, 'epoch', 'home', 'to', 'place', 'front')
local epoch, home, to, by = tonumber(ARGV[1]), ARGV[3], ARGV[4], call('HGET', k_mover, 'by') or ''
local stored, was = tonumber(vars[1] or 0), vars[2] or 'here'
if epoch < stored or (epoch == stored and ARGV[2] ~= by) then return {1, stored} end
if epoch ~= stored or home ~= was or to ~= (vars[3] or '') then
  local stays = home == 'here' and to == ''
  if stays and call('EXISTS', k_out) == 1 then return {2} end
  if home == 'moving' and was ~= 'moving' then call('HSET', k_mover, 'mark', vars[4] or '0') end
  if ARGV[5] ~= '0' then
    local base = text((vars[5] or 0) - ARGV[5])
    call('HSET', k_vars, 'front', base)
    call('HSET', k_mover, 'base', base)
  end
  for a = 7, #ARGV, 2 do call('HINCRBY', k_vars, ARGV[a], ARGV[a + 1]) end
  if home == 'gone' then
    for _, key in ipairs({k_unique, k_utime, k_awaited, k_schedules, k_rules, k_slots, k_due}) do call('UNLINK', key) end
  end
  if stays or home == 'gone' then
    call('UNLINK', k_taken)
    call('HDEL', k_mover, 'note')
  end
  call('HSET', k_vars, 'epoch', ARGV[1])
  if home == 'here' then call('HDEL', k_vars, 'home') else call('HSET', k_vars, 'home', home) end
  if to == '' then call('HDEL', k_vars, 'to') else call('HSET', k_vars, 'to', to) end
  call('HSET', k_mover, 'by', ARGV[2])
  call('HSET', k_conf, 'epoch', ARGV[1])
  call('ZADD', k_marker, 0, '0')
end
local move = call('HMGET', k_mover, 'mark', 'base')
return {
  0, clock(ARGV[6]), move[1] or '0', move[2] or '0', call('HMGET', k_conf, 'rev', 'declared', 'override'),
  call('HMGET', k_vars, 'home', 'to', 'epoch'),
}
