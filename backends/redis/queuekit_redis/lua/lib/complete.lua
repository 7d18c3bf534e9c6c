-- complete: plain completions of an exchange, one write a kind for all; uses job, ended
local refused = {} -- id, why, id, why …

local function refuse(id, why) refused[#refused + 1], refused[#refused + 2] = id, why end

-- Triples from ARGV[9] on: id, token, result ('' none). Whatever is special about a job goes through finish.
local function complete(plain, keep, now)
  local names = {}
  for i = 1, plain do names[i] = ARGV[6 + 3 * i] end
  local old, someone = call('HMGET', k_run, unpack(names)), call('EXISTS', k_awaited) == 1
  local done, new, ended, results = {}, {}, {}, {}
  for i = 1, plain do
    local id, r, t, result = names[i], old[i], ARGV[7 + 3 * i], ARGV[8 + 3 * i]
    if not r then
      refuse(id, call('HEXISTS', k_jobs, id) == 1 and 'l' or 'g')
    elseif byte(r, 1) ~= ACTIVE or byte(r, 56) ~= #t or sub(r, 57, 56 + #t) ~= t then
      refuse(id, 'l')
    else
      local k, bits = #done + 1, byte(r, 3)
      if someone or bits >= 16 then
        local j = read(r)
        call('ZREM', k_active, id)
        if result ~= '' then
          call('HSET', k_notes, 'r' .. id, result)
          j.bits = with(j.bits, 1)
        end
        finish(id, j, COMPLETED, now, '')
      else
        if result ~= '' then
          results[#results + 1], results[#results + 2] = 'r' .. id, result
          if bits % 2 == 0 then bits = bits + 1 end
        end
        done[k], ended[2 * k - 1], ended[2 * k] = id, now, id
        new[2 * k - 1], new[2 * k] = id, pack('<BBBI4I8', COMPLETED, 0, bits, parse('<I4', r, 4) + 1, now) .. sub(r, 16)
      end
    end
  end
  if #done == 0 then return end
  many('ZREM', k_active, done)
  call('HINCRBY', k_vars, 'completed', #done)
  if sub(keep, 1, 2) == '0/' then return drop(done) end
  many('HSET', k_run, new)
  many('HSET', k_notes, results)
  many('ZADD', k_completed, ended)
  trim(COMPLETED, keep, false)
end
