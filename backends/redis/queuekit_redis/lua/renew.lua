-- renew: extend claims, keep what their handlers reported
-- KEYS[1] run     hash: id -> what changes
-- KEYS[2] notes   hash: kind and id -> bytes
-- KEYS[3] active  zset: id, lease end ms
-- ARGV[1] clock shift ms  ARGV[2] lease ms
-- ARGV[3 …] a claim: id, token, progress ('' none, '=bytes'), lines (see notes), the lines packed
-- RETURNS {now, lease end, {lost id …}, {id, cancel reason …}}
-- COST O(claims · log n)
-- SINCE 1.0
-- USES base run notes
call('ZREM', k_active, '') -- shrinks, so that a full server lets the rest of the script through
local now = clock(ARGV[1])
local till, lost, cancels, leases, changed = now + ARGV[2], {}, {}, {}, {}
for a = 3, #ARGV, 5 do
  local id, token = ARGV[a], ARGV[a + 1]
  local run = call('HGET', k_run, id)
  if not run or byte(run, 1) ~= ACTIVE or byte(run, 56) ~= #token or sub(run, 57, 56 + #token) ~= token then
    lost[#lost + 1] = id
  else
    leases[#leases + 1], leases[#leases + 2] = till, id
    local bits = note(id, token, byte(run, 3), ARGV[a + 2], ARGV[a + 3], ARGV[a + 4])
    if bits ~= byte(run, 3) then call('HSET', k_run, id, sub(run, 1, 2) .. string.char(bits) .. sub(run, 4)) end
    if has(bits, 32) then cancels[#cancels + 1], cancels[#cancels + 2] = id, sub(read(run).cancel, 2) end
  end
end
many('ZADD', k_active, leases)
return {now, till, lost, cancels}
