-- slots: schedules as replies carry them; uses base
local BYTES_READ = 4194304 -- of definitions in one answer

-- Ids, slots and definitions of those of `names` that are there; over 4 MiB fewer, then never none.
local function shown(names)
  local ids, slots, rules, size = {}, {}, {}, 0
  for i = 1, #names do
    local slot, rule = call('HGET', k_slots, names[i]), call('HGET', k_rules, names[i])
    if slot and rule then
      size = size + #rule
      if size > BYTES_READ and #ids > 0 then break end
      ids[#ids + 1], slots[#slots + 1], rules[#rules + 1] = names[i], slot, rule
    end
  end
  return ids, slots, rules
end
