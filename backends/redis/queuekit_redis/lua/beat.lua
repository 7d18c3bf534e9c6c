-- beat: a worker tells that it lives, and who else does
-- KEYS[1] workers  hash: id -> I8 until ms, I8 seen ms, JSON
-- ARGV[1] clock shift ms  ARGV[2] id ('' only asks)  ARGV[3] ttl ms  ARGV[4] JSON
-- RETURNS {now, id, seen, JSON …}; the list only where it was asked
-- COST O(workers)
-- SINCE 1.0
-- USES base
local now, ttl = clock(ARGV[1]), tonumber(ARGV[3])
local asked = ARGV[2] == ''
if not asked and ttl > 0 then
  local kept = pack('<I8I8', now + ttl, now) .. ARGV[4]
  if type(redis.pcall('HSET', k_workers, ARGV[2], kept)) == 'table' then
    call('HDEL', k_workers, '') -- shrinks, so that a full server lets the rest of the script through
    call('HSET', k_workers, ARGV[2], kept)
  end
  if now % 16 > 0 then return {now} end -- one of some beats looks after those who left without a word
end
local reply, silent = {now}, {}
local all = call('HGETALL', k_workers)
for i = 1, #all, 2 do
  local till, seen = parse('<I8I8', all[i + 1])
  if till <= now or all[i] == ARGV[2] and ttl <= 0 then
    silent[#silent + 1] = all[i]
  elseif asked then
    local k = #reply
    reply[k + 1], reply[k + 2], reply[k + 3] = all[i], seen, sub(all[i + 1], 17)
  end
end
many('HDEL', k_workers, silent)
return reply
