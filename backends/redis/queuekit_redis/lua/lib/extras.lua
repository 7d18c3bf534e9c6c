-- extras: what a record has beside entry and run; uses base
-- What a reply says beside entry and run: opts, progress, errors, logs, result; false where there is none.
local function extras(id, bits)
  if bits % 32 == 0 then return false end
  return {
    has(bits, 16) and call('HGET', k_opts, id), has(bits, 2) and call('HGET', k_notes, 'p' .. id),
    has(bits, 4) and call('HGET', k_notes, 'e' .. id), has(bits, 8) and call('HGET', k_notes, 'l' .. id),
    has(bits, 1) and call('HGET', k_notes, 'r' .. id),
  }
end
