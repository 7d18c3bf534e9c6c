-- notes: what handlers reported, as opaque bytes: r result, p progress, e errors, l logs; uses job
-- errors and logs are one text each: I4 how many, then I4 length and bytes of each, oldest first.
-- t: how many lines a claim reported so far, I4, and its token; goes with the logs.
local function append(field, count, items, most)
  local old = call('HGET', k_notes, field)
  if old then
    count, items = count + parse('<I4', old), sub(old, 5) .. items
  end
  local from = 1
  while count > most do
    from, count = from + 4 + parse('<I4', items, from), count - 1
  end
  call('HSET', k_notes, field, pack('<I4', count) .. sub(items, from))
end

-- The lines that this claim did not report before: a repeat, or a later report, may bring some again.
local function unknown(id, token, count, start, logs)
  local taken, known, from = call('HGET', k_notes, 't' .. id), 0, 1
  if taken and sub(taken, 5) == token then known = parse('<I4', taken) end
  start = start or known
  if start + count <= known then return 0, '' end
  call('HSET', k_notes, 't' .. id, pack('<I4', start + count) .. token)
  for _ = start + 1, known do
    from, count = from + 4 + parse('<I4', logs, from), count - 1
  end
  return count, sub(logs, from)
end

-- progress '' or '=bytes'; lines: how many, or how many@how many of this claim came before; logs: the lines packed.
-- Answers the job's new bits.
local function note(id, token, bits, progress, lines, logs)
  if progress ~= '' then
    call('HSET', k_notes, 'p' .. id, sub(progress, 2))
    bits = with(bits, 2)
  end
  if lines ~= '0' then
    local count, start = string.match(lines, '^(%d+)@?(%d*)$')
    local new
    new, logs = unknown(id, token, tonumber(count), tonumber(start), logs)
    if new > 0 then
      append('l' .. id, new, logs, LOGS_KEPT)
      bits = with(bits, 8)
    end
  end
  return bits
end
