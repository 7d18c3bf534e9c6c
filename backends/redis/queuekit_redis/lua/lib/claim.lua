-- claim: leases of an exchange, gathered for its reply; uses base, complete
local ids, entries, runs, more_of, leases = {}, {}, {}, {}, {}

-- Lease these jobs of a line; `popped` is id, score, id, score …
local function claim(popped, line, now, token, rare)
  local names, till = {}, text(now + ARGV[5])
  local tail = pack('Bc0Hc0', #token, token, #ARGV[7], ARGV[7]) .. '\0\0\0\0\0\0\0\0\0'
  for i = 1, #popped, 2 do names[#names + 1] = popped[i] end
  local got, old, active, changed = call('HMGET', k_jobs, unpack(names)), call('HMGET', k_run, unpack(names)), {}, {}
  local k = #ids
  for i = 1, #names do
    local id, entry, r, bits, run = names[i], got[i], old[i], 0, nil
    local flags = entry and byte(entry, 9)
    if entry and not r and flags < 4 then
      local run_at = flags % 2 == 1 and parse('<I8', entry, 10) or 0
      run = pack('<BBBI4I8I8I8dI4I4I4I4', ACTIVE, line, 0, 2, 0, run_at, now, popped[2 * i], 1, 0, 0, 0) .. tail
    elseif entry then
      run, bits = rare('claim_one', id, entry, r, popped[2 * i], line, now, token)
    end
    if run then
      k = k + 1
      ids[k], entries[k], runs[k], more_of[k], leases[k] = id, entry, run, bits > 0 and rare('extras', id, bits), till
      active[#active + 1], active[#active + 2] = till, id
      changed[#changed + 1], changed[#changed + 2] = id, run
    end
  end
  many('ZADD', k_active, active)
  many('HSET', k_run, changed)
end

local function claims(want, now, token, rare)
  if ARGV[6] == '1' then
    for _ = 1, 100 do -- again only where an expired job was met
      local popped = call('ZPOPMIN', k_suspect)
      if #popped == 0 then break end
      claim(popped, SUSPECT, now, token, rare)
      if #ids > 0 then break end
    end
  end
  for _ = 1, 20 do
    if #ids >= want then break end
    local popped = call('ZPOPMIN', k_ready, want - #ids)
    if #popped == 0 then break end
    claim(popped, READY, now, token, rare)
  end
end
