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

-- What a reply says beside entry and run: opts, progress, errors, logs, result; false where there is none.
local function extras(id, bits)
  if bits % 32 == 0 then return false end
  return {
    has(bits, 16) and call('HGET', k_opts, id), has(bits, 2) and call('HGET', k_notes, 'p' .. id),
    has(bits, 4) and call('HGET', k_notes, 'e' .. id), has(bits, 8) and call('HGET', k_notes, 'l' .. id),
    has(bits, 1) and call('HGET', k_notes, 'r' .. id),
  }
end
