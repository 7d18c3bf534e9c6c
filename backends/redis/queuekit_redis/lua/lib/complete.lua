-- complete: plain completions of an exchange, one write a kind for all; uses base, drop
local refused = {} -- id, why, id, why …

local function refuse(id, why) refused[#refused + 1], refused[#refused + 2] = id, why end

-- Triples from ARGV[9] on: id, token, result ('' none). Whatever is special about a job goes through `rare`.
local function complete(plain, keep, now, rare)
  local names = {}
  for i = 1, plain do names[i] = ARGV[6 + 3 * i] end
  local old, someone = call('HMGET', k_run, unpack(names)), call('EXISTS', k_awaited) == 1
  local done, new, ended, results, stamp, k = {}, {}, {}, {}, text(now), 0
  for i = 1, plain do
    local id, r, t, result = names[i], old[i], ARGV[7 + 3 * i], ARGV[8 + 3 * i]
    if not r then
      refuse(id, call('HEXISTS', k_jobs, id) == 1 and 'l' or 'g')
    elseif byte(r, 1) ~= ACTIVE or byte(r, 56) ~= #t or sub(r, 57, 56 + #t) ~= t then
      refuse(id, 'l')
    else
      local bits = byte(r, 3)
      if someone or bits >= 16 then
        rare('complete_one', id, r, result, now)
      else
        if result ~= '' then
          results[#results + 1], results[#results + 2] = 'r' .. id, result
          if bits % 2 == 0 then bits = bits + 1 end
        end
        k = k + 1
        done[k], ended[2 * k - 1], ended[2 * k], new[2 * k - 1] = id, stamp, id, id
        new[2 * k] = pack('<BBBI4I8', COMPLETED, 0, bits, parse('<I4', r, 4) + 1, now) .. sub(r, 16)
      end
    end
  end
  if k == 0 then return end
  many('ZREM', k_active, done)
  call('HINCRBY', k_vars, 'completed', k)
  if sub(keep, 1, 2) == '0/' then return drop(done) end
  many('HSET', k_run, new)
  many('HSET', k_notes, results)
  many('ZADD', k_completed, ended)
  local count = tonumber(string.match(keep, '^%d+'))
  if count then trim_oldest(k_completed, count) end
end
