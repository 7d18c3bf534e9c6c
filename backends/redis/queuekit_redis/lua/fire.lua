-- fire: jobs of schedules whose slot has come, and their next slots; each if what was read is still what there is
-- KEYS[1] jobs       hash: id -> entry
-- KEYS[2] run        hash: id -> what changes
-- KEYS[3] opts       hash: id -> what is not default
-- KEYS[4] vars       hash: counters and limits
-- KEYS[5] ready      zset: id, score of (priority, place)
-- KEYS[6] suspect    zset: as ready
-- KEYS[7] delayed    zset: id, due ms
-- KEYS[8] unique     hash: key -> holder
-- KEYS[9] utime      zset: unique key, free at ms
-- KEYS[10] expiring  zset: id, expires ms
-- KEYS[11] marker    zset: '0' while there may be work
-- KEYS[12] out       hash: id -> batch it is checked out under
-- KEYS[13] slots     hash: id -> what firing moves
-- KEYS[14] due       zset: id, next slot ms
-- ARGV[1] clock shift ms  ARGV[2] how many firings  ARGV[3] '' unused  ARGV[4] '2': some job has a unique key, else '1'
-- ARGV[5 …] a firing: id, rev that was read, next slot ms ('' none), slots skipped, last job's id ('' no job), '1' where
--           a job has a unique key, how many jobs, how many arguments they are; then the jobs, as in enqueue
-- RETURNS {0, what became of each}: '' done, all jobs made · 'c' another rev · 'f' full · 'l' a unique key, and jobs
--         still come from elsewhere · else done, '=' and a word for each job as in enqueue. {3, home, to} moved
-- COST O(jobs · log n)
-- SINCE 1.0
-- USES base when run job unique spec insert plans
local now, home = clock(ARGV[1]), call('HMGET', k_vars, 'home', 'to')
if home[1] then return {3, home[1], home[2]} end
local created, said, a = pack('<I8', now), {}, 5

-- The jobs at ARGV[first]: why there are none, or the word for each.
local function made(first, count, keyed)
  local receipts = {}
  if home[2] and keyed == '1' then return 'l' end
  if count > 0 then
    local vars = call('HMGET', k_vars, 'max_size', 'place', 'front', 'enqueued')
    local place, front, enqueued = tonumber(vars[2] or 0), tonumber(vars[3] or 0), tonumber(vars[4] or 0)
    if insert(first, count, vars[1], place, front, enqueued, created, receipts, now) then return 'f' end
  end
  return nil, receipts
end

for i = 1, tonumber(ARGV[2]) do
  local id, next_at, count, first = ARGV[a], ARGV[a + 2], tonumber(ARGV[a + 6]), a + 8
  local slot, no, words = call('HGET', k_slots, id), 'c', nil
  if slot and parse('<I8', slot) == tonumber(ARGV[a + 1]) then no, words = made(first, count, ARGV[a + 5]) end
  if not no then
    local rev, fired, skipped, _, stop = parse('<I8I8I8Bc0', slot)
    local last, all = words[count], true
    if last == '+' or last == '=' then last = ARGV[a + 4] elseif not last then last = sub(slot, stop) end
    local counts = pack('<I8I8I8', math.max(now, rev + 1), fired + count, skipped + ARGV[a + 3])
    keep_slot(id, next_at, counts .. pack('<Bc0', #next_at, next_at) .. last)
    for k = 1, count do all = all and words[k] == '+' end
    no = all and '' or '=' .. table.concat(words, ',')
  end
  said[i], a = no, first + tonumber(ARGV[a + 7])
end
return {0, said}
