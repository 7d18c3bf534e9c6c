-- run: the changing half of a job (hash run) as a table, and back; the layout is also in records.py
-- bits: 1 result, 2 progress, 4 errors, 8 logs, 16 opts, 32 cancel asked, 64 claimed by a worker of no name. A time of 0 is none.
local WHOLE = '<BBBI4I8I8I8dI4I4I4I4Bc0Hc0I4c0I4c0Bc0'

local function with(bits, bit) return has(bits, bit) and bits or bits + bit end

local function without(bits, bit) return has(bits, bit) and bits - bit or bits end

local function read(run)
  local j = {}
  j.state, j.line, j.bits, j.rev, j.ended, j.run_at, j.claimed, j.score, j.claims, j.failures, j.snoozes, j.crashes,
    j.token, j.worker, j.cancel, j.reason, j.keep = parse(WHOLE, run)
  return j
end

local function written(j)
  return pack(WHOLE, j.state, j.line, j.bits, j.rev, j.ended, j.run_at, j.claimed, j.score, j.claims, j.failures,
    j.snoozes, j.crashes, #j.token, j.token, #j.worker, j.worker, #j.cancel, j.cancel, #j.reason, j.reason, #j.keep, j.keep)
end

-- Flags, run_at and priority of an entry of the hash jobs: I8 created, B flags, [I8 run_at], I2 priority …
local function envelope(entry)
  local flags = byte(entry, 9)
  if flags % 2 == 1 then
    local run_at, priority = parse('<I8I2', entry, 10)
    return flags, run_at, priority
  end
  return flags, 0, (parse('<I2', entry, 10))
end

