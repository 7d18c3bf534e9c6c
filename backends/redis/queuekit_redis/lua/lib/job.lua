-- job: a whole job by its id, fresh or changed; uses base, run
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
