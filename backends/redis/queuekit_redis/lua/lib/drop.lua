-- drop: ended jobs go; uses base
local OWN = '35184372088832' -- 2^45: jobs with a retention of their own stand in a second band of their state's zset

-- Everything of these jobs but their members in the lines.
local function drop(ids)
  if #ids == 0 then return end
  local notes, options = {}, {}
  for i = 1, #ids, 4000 do
    local runs = call('HMGET', k_run, unpack(ids, i, math.min(i + 3999, #ids)))
    for k = 1, #runs do
      local id, bits = ids[i + k - 1], runs[k] and byte(runs[k], 3) or 16
      if bits % 16 > 0 then
        if has(bits, 1) then notes[#notes + 1] = 'r' .. id end
        if has(bits, 2) then notes[#notes + 1] = 'p' .. id end
        if has(bits, 4) then notes[#notes + 1] = 'e' .. id end
        if has(bits, 8) then notes[#notes + 1], notes[#notes + 2] = 'l' .. id, 't' .. id end
      end
      if has(bits, 16) then options[#options + 1] = id end
    end
  end
  many('HDEL', k_run, ids)
  many('HDEL', k_jobs, ids)
  many('HDEL', k_notes, notes)
  many('HDEL', k_opts, options)
end

-- The oldest of a state over a count, of those under the queue's retention; at most 2,000. Answers how many.
local function trim_oldest(key, count)
  local over = call('ZCOUNT', key, '-inf', '(' .. OWN) - count
  if over <= 0 then return 0 end
  local popped, ids = call('ZPOPMIN', key, math.min(over, 2000)), {}
  for i = 1, #popped, 2 do ids[#ids + 1] = popped[i] end
  drop(ids)
  return #ids
end
