-- notes: what handlers reported, as opaque bytes: r result, p progress, e errors, l logs; uses job
-- errors and logs are one text each: I4 how many, then I4 length and bytes of each, oldest first.
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

-- progress '' or '=bytes'; logs already packed. Answers the job's new bits.
local function note(id, bits, progress, count, logs)
  if progress ~= '' then
    call('HSET', k_notes, 'p' .. id, sub(progress, 2))
    bits = with(bits, 2)
  end
  if tonumber(count) > 0 then
    append('l' .. id, tonumber(count), logs, LOGS_KEPT)
    bits = with(bits, 8)
  end
  return bits
end
