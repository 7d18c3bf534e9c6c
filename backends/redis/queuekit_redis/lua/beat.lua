-- beat: a worker tells that it lives, and who else does
-- KEYS[1] workers  hash: id -> I8 until ms, I8 seen ms, JSON
-- ARGV[1] clock shift ms  ARGV[2] id ('' only asks)  ARGV[3] ttl ms  ARGV[4] JSON
-- RETURNS {now, id, seen, JSON …}; the list only where it was asked
-- COST O(workers)
-- SINCE 1.0
-- USES base
call('HDEL', k_workers, '') -- shrinks, so that a full server lets the rest of the script through
local now = clock(ARGV[1])
local reply, silent = {now}, {}
local all = call('HGETALL', k_workers)
for i = 1, #all, 2 do
  local till, seen = parse('<I8I8', all[i + 1])
  if till <= now then
    silent[#silent + 1] = all[i]
  elseif ARGV[2] == '' then
    local k = #reply
    reply[k + 1], reply[k + 2], reply[k + 3] = all[i], seen, sub(all[i + 1], 17)
  end
end
many('HDEL', k_workers, silent)
if ARGV[2] == '' then return reply end
local ttl = tonumber(ARGV[3])
if ttl > 0 then
  call('HSET', k_workers, ARGV[2], pack('<I8I8', now + ttl, now) .. ARGV[4])
else
  call('HDEL', k_workers, ARGV[2])
end
return reply
