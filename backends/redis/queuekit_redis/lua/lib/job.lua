-- job: the changing half of a job (hash run) as a table, and back; the layout is also in records.py
-- bits: 1 result, 2 progress, 4 errors, 8 logs, 16 opts, 32 cancel asked. A time of 0 is none.
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

-- A job that was never claimed nor changed has no entry in run: what it would say.
local function fresh(entry, state, score)
  local flags, run_at, priority = envelope(entry)
  return {
    state = state, line = state == WAITING and READY or 0, bits = has(flags, 4) and 16 or 0, rev = 1, ended = 0,
    run_at = run_at, claimed = 0, score = score and tonumber(score) or priority * BAND + MID, claims = 0, failures = 0,
    snoozes = 0, crashes = 0, token = '', worker = '', cancel = '', reason = '', keep = '',
  }
end

-- Any job by id, or nil.
local function load(id)
  local run = call('HGET', k_run, id)
  if run then return read(run) end
  local entry = call('HGET', k_jobs, id)
  if not entry then return nil end
  local score = call('ZSCORE', k_ready, id)
  return fresh(entry, score and WAITING or DELAYED, score)
end

local function save(id, j)
  call('HSET', k_run, id, written(j))
end

-- Expiry, unique key and retention of a job whose bits or flags say that it has some.
local function opts(id)
  local text = call('HGET', k_opts, id)
  local o = {}
  o.expires, o.till, o.conflict, o.ttl, o.max_wait, o.keep_completed, o.keep_failed, o.key = parse('<I8BBI8I8Bc0Bc0I4c0', text)
  o.text = text
  return o
end
