-- rare: what most exchanges do not need, so that its functions are made only when asked for
-- Uses base, drop, complete, claim, job, unique, ended, notes
-- A plain completion of a job that has a key, a retention, an expiry, a cancel or somebody who waits.
local function complete_one(id, run, result, now)
  local j = read(run)
  call('ZREM', k_active, id)
  if result ~= '' then
    call('HSET', k_notes, 'r' .. id, result)
    j.bits = with(j.bits, 1)
  end
  finish(id, j, COMPLETED, now, '')
end

-- A job that was claimed before, or has more than the default. Answers run and bits, or nil where it has expired.
local function claim_one(id, entry, run, score, line, now, token)
  local j = run and read(run) or fresh(entry, WAITING, score)
  local o = has(j.bits, 16) and opts(id)
  if o and o.expires > 0 and o.expires <= now then
    j.reason = '=expired'
    return finish(id, j, CANCELLED, now, '')
  end
  if o then free(id, o, true) end
  j.state, j.line, j.rev, j.claims, j.claimed, j.token, j.worker = ACTIVE, line, j.rev + 1, j.claims + 1, now, token, ARGV[7]
  return written(j), j.bits
end

local function names_of(list)
  local names = {}
  for name in string.gmatch(list, '[^,]+') do names[#names + 1] = name end
  return names
end

-- The claims of the call that is repeated, as far as they are still held.
local function replay(answer, token)
  local claimed, why = string.match(answer, '^(.-);(.*)$')
  for _, name in ipairs(names_of(why)) do refuse(sub(name, 2), sub(name, 1, 1)) end
  for _, id in ipairs(names_of(claimed)) do
    local r, k = call('HGET', k_run, id), #ids + 1
    if r and byte(r, 1) == ACTIVE and byte(r, 56) == #token and sub(r, 57, 56 + #token) == token then
      ids[k], entries[k], runs[k], more_of[k] = id, call('HGET', k_jobs, id), r, extras(id, byte(r, 3))
      leases[k] = call('ZSCORE', k_active, id)
    end
  end
end
