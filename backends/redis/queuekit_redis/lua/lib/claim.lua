-- claim: leases of an exchange, gathered for its reply; uses job, unique, ended, notes, complete
local ids, entries, runs, more_of, leases = {}, {}, {}, {}, {}

-- Lease these jobs of a line; `popped` is id, score, id, score …
local function claim(popped, line, now, token)
  local names, scores, tail = {}, {}, pack('Bc0Hc0', #token, token, #ARGV[7], ARGV[7]) .. string.rep('\0', 9)
  for i = 1, #popped, 2 do names[#names + 1], scores[#scores + 1] = popped[i], popped[i + 1] end
  local got, old, active, changed = call('HMGET', k_jobs, unpack(names)), call('HMGET', k_run, unpack(names)), {}, {}
  for i = 1, #names do
    local id, entry, r = names[i], got[i], old[i]
    local bits, run = r and byte(r, 3), nil
    if entry and not r and byte(entry, 9) < 4 then
      local _, run_at = envelope(entry)
      bits, run = 0, pack(HEAD, ACTIVE, line, 0, 2, 0, run_at, now, scores[i], 1, 0, 0, 0) .. tail
    elseif entry then
      local j = r and read(r) or fresh(entry, WAITING, scores[i])
      local o = has(j.bits, 16) and opts(id)
      bits = j.bits
      if o and o.expires > 0 and o.expires <= now then
        j.reason = '=expired'
        finish(id, j, CANCELLED, now, '')
      else
        if o then free(id, o, true) end
        j.state, j.line, j.rev, j.claims, j.claimed, j.token, j.worker = ACTIVE, line, j.rev + 1, j.claims + 1, now, token, ARGV[7]
        run = written(j)
      end
    end
    if run then
      local k = #ids + 1
      ids[k], entries[k], runs[k], more_of[k], leases[k] = id, entry, run, bits > 0 and extras(id, bits), now + ARGV[5]
      active[#active + 1], active[#active + 2] = now + ARGV[5], id
      changed[#changed + 1], changed[#changed + 2] = id, run
    end
  end
  many('ZADD', k_active, active)
  many('HSET', k_run, changed)
end

local function claims(want, now, token)
  for _ = 1, ARGV[6] == '1' and want > 0 and 100 or 0 do
    local popped = call('ZPOPMIN', k_suspect)
    if #popped > 0 then claim(popped, SUSPECT, now, token) end
    if #popped == 0 or #ids > 0 then break end
  end
  for _ = 1, 20 do -- again only where expired jobs were met
    if #ids >= want then break end
    local popped = call('ZPOPMIN', k_ready, want - #ids)
    if #popped == 0 then break end
    claim(popped, READY, now, token)
  end
end

-- The claims of the call that is repeated, as far as they are still held.
local function replay(answer, token)
  local claimed, why = string.match(answer, '^(.-);(.*)$')
  for _, name in ipairs(names_of(why)) do refuse(sub(name, 2), sub(name, 1, 1)) end
  for _, id in ipairs(names_of(claimed)) do
    local r, k = call('HGET', k_run, id), #ids + 1
    if r and byte(r, 1) == ACTIVE and byte(r, 56) == #token and sub(r, 57, 56 + #token) == token then
      ids[k], entries[k], runs[k], more_of[k] = id, call('HGET', k_jobs, id), r, extras(id, byte(r, 3))
      leases[k] = tonumber(call('ZSCORE', k_active, id))
    end
  end
end
