-- claim: leases of an exchange, gathered for its reply; uses base, complete
local ids, entries, runs, more_of, leases = {}, {}, {}, {}, {}
local none = false -- nothing was left to claim
local ENOUGH, bytes = 8388608, 0 -- a reply that has so many bytes of jobs takes no further one

-- Lease these jobs of a line; `popped` is id, score, id, score … What is too much for one reply goes back to its place.
local function claim(popped, line, now, token, rare)
  local names, till = {}, text(now + ARGV[5])
  local tail = pack('Bc0Hc0', #token, token, #ARGV[7], ARGV[7]) .. '\0\0\0\0\0\0\0\0\0'
  for i = 1, #popped, 2 do names[#names + 1] = popped[i] end
  local got, old, active, changed = call('HMGET', k_jobs, unpack(names)), call('HMGET', k_run, unpack(names)), {}, {}
  local k, surplus = #ids, {}
  for i = 1, #names do
    local id, entry, r, bits, run, known = names[i], got[i], old[i], 0, nil, nil
    local flags = entry and byte(entry, 9)
    if bytes >= ENOUGH then
      surplus[#surplus + 1], surplus[#surplus + 2] = popped[2 * i], id
    elseif entry and not r and flags < 4 then
      local run_at = flags % 2 == 1 and parse('<I8', entry, 10) or 0
      known = popped[2 * i]
      run = pack('<BBBI4I8I8I8dI4I4I4I4', ACTIVE, line, 0, 2, 0, run_at, now, known, 1, 0, 0, 0) .. tail
    elseif entry then
      run, bits = rare('claim_one', id, entry, r, popped[2 * i], line, now, token)
    end
    if run then
      k, bytes = k + 1, bytes + #entry
      ids[k], entries[k], runs[k], more_of[k], leases[k] = id, entry, known or run, bits > 0 and rare('extras', id, bits), till
      if more_of[k] then
        for _, extra in ipairs(more_of[k]) do bytes = bytes + (extra and #extra or 0) end
      end
      active[#active + 1], active[#active + 2] = till, id
      changed[#changed + 1], changed[#changed + 2] = id, run
    end
  end
  many('ZADD', k_active, active)
  many('HSET', k_run, changed)
  many('ZADD', k_ready, surplus)
end

local function claims(want, now, token, rare)
  local seen = ARGV[6] ~= '1' -- all of the suspect line that this call may look at
  if not seen then
    for _ = 1, 100 do -- again only where an expired job was met
      local popped = call('ZPOPMIN', k_suspect)
      seen = #popped == 0
      if seen then break end
      claim(popped, SUSPECT, now, token, rare)
      seen = #ids > 0
      if seen then break end
    end
  end
  for _ = 1, 20 do
    if #ids >= want or bytes >= ENOUGH then break end
    local popped = call('ZPOPMIN', k_ready, math.min(want - #ids, 100 + #ids)) -- large ones show before all are read
    none = seen and #popped == 0
    if #popped == 0 then break end
    claim(popped, READY, now, token, rare)
  end
end
