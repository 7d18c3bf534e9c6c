-- arrive: parcels become jobs; uses base, run, job, unique, drop, letgo
local clashes, refused = {}, {} -- texts; ids
local shelf = {
  [1] = k_ready, [2] = k_delayed, [3] = k_blocked, [4] = k_suspect, [5] = k_parked, [6] = k_completed, [7] = k_failed,
  [8] = k_cancelled, [9] = k_active,
}

local function clash(id, why, by)
  clashes[#clashes + 1], refused[id] = why .. id .. ',' .. by .. ';', true
end

-- Hold a key until a time; '' until the job gives it back.
local function hold(key, id, till)
  call('HSET', k_unique, key, till == '' and id or id .. '|' .. till)
  if till == '' then call('ZREM', k_utime, key) else call('ZADD', k_utime, till, key) end
end

-- Whether the job of this id only stands for one that runs in the other store.
local function lent(id)
  local run = call('HGET', k_run, id)
  return run and byte(run, 1) == LENT
end

-- It gives way, with its key.
local function vacate(id)
  call('ZREM', k_active, id)
  if has(byte(call('HGET', k_run, id), 3), 16) then release(id) end
  drop({id})
end

-- Ready jobs that were never claimed and have nothing but a payload: triples from ARGV[8] on.
local function take_plain(plain)
  local ready = {}
  for a = 8, 7 + 3 * plain, 3 do
    local id, came = ARGV[a], call('HSETNX', k_jobs, ARGV[a], ARGV[a + 1]) == 1
    if not came and lent(id) then
      vacate(id)
      came = call('HSETNX', k_jobs, id, ARGV[a + 1]) == 1
    end
    if came then
      ready[#ready + 1], ready[#ready + 2] = ARGV[a + 2], id
    else
      clash(id, 'i', id)
    end
  end
  many('ZADD', k_ready, ready)
end

-- The next place at the back, in the score and in the run.
local function last_place(base, run)
  local score = base + call('HINCRBY', k_vars, 'place', 1)
  return text(score), run == '' and '' or sub(run, 1, 31) .. pack('<d', score) .. sub(run, 40)
end

-- Any other job from ARGV[a] on: id, entry, run ('' none), shelf, score there, how many pairs; pairs of a kind and a
-- value: h until when ('' for ever) '|' key, o opts, x expires ms, k member of kept, w somebody waits, b the place is the
-- next one at the back of this score; any other: a note of that kind.
local function take_others(a, now)
  local runs, options, notes, kept, stand = {}, {}, {}, {}, {{}, {}, {}, {}, {}, {}, {}, {}, {}}
  while a < #ARGV do
    local id, run, where, score, said, first = ARGV[a], ARGV[a + 2], tonumber(ARGV[a + 3]), ARGV[a + 4], {}, a + 6
    a = first + 2 * ARGV[a + 5]
    for p = first, a - 1, 2 do said[ARGV[p]] = ARGV[p + 1] end
    local till, key = string.match(said.h or '', '^(%d*)|(.*)$')
    if till and till ~= '' and tonumber(till) <= now then key = nil end -- it ran out on the way
    local there, holder = call('HEXISTS', k_jobs, id) == 1, key and holder_of(key, now)
    if there and not lent(id) then
      clash(id, 'i', id)
    elseif holder and holder ~= id then
      clash(id, 'k', holder)
    else
      if there then vacate(id) end
      call('HSET', k_jobs, id, ARGV[first - 5])
      if said.b then
        local behind
        behind, run = last_place(said.b, run)
        if where == 1 or where == 4 then score = behind end
      end
      if run ~= '' then runs[#runs + 1], runs[#runs + 2] = id, run end
      if key then hold(key, id, till) end
      if said.o then options[#options + 1], options[#options + 2] = id, said.o end
      if said.x then call('ZADD', k_expiring, said.x, id) end
      if said.k then kept[#kept + 1], kept[#kept + 2] = 0, said.k end
      if said.w then call('HSET', k_awaited, id, 1) end
      for _, kind in ipairs({'r', 'p', 'e', 'l'}) do
        if said[kind] then notes[#notes + 1], notes[#notes + 2] = kind .. id, said[kind] end
      end
      stand[where][#stand[where] + 1], stand[where][#stand[where] + 2] = score, id
      if where >= COMPLETED and where < LENT then dismiss(id) end
    end
  end
  many('HSET', k_run, runs)
  many('HSET', k_opts, options)
  many('HSET', k_notes, notes)
  many('ZADD', k_kept, kept)
  for line = 1, 9 do many('ZADD', shelf[line], stand[line]) end
end
