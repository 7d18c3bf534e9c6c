-- lines: where a live job stands, how it leaves and enters; uses job
local line_key = {
  [DELAYED] = k_delayed, [BLOCKED] = k_blocked, [ACTIVE] = k_active, [PARKED] = k_parked,
  [COMPLETED] = k_completed, [FAILED] = k_failed, [CANCELLED] = k_cancelled,
}

local function leave(id, j)
  if j.state == WAITING then
    call('ZREM', j.line == SUSPECT and k_suspect or k_ready, id)
  else
    call('ZREM', line_key[j.state], id)
    if j.keep ~= '' then
      call('ZREM', k_kept, j.state .. '|' .. j.keep .. '|' .. string.format('%015.0f', j.ended) .. '|' .. id)
    end
  end
end

-- The last of `n` new places at the back.
local function back(n) return call('HINCRBY', k_vars, 'place', n) end

local function wake() call('ZADD', k_marker, 0, '0') end

-- At the back of its priority if due, else among the delayed. The job has left its line.
local function enter(id, j, due, now, line)
  j.run_at, j.token, j.rev = due, '', j.rev + 1
  if due > now then
    local first = call('ZRANGE', k_delayed, 0, 0, 'WITHSCORES')
    j.state, j.line = DELAYED, 0
    call('ZADD', k_delayed, due, id)
    if not first[2] or due < tonumber(first[2]) then wake() end
  else
    j.state, j.line = WAITING, line or READY
    j.score = floor(j.score / BAND) * BAND + MID + back(1)
    call('ZADD', j.line == SUSPECT and k_suspect or k_ready, j.score, id)
  end
  save(id, j)
end
