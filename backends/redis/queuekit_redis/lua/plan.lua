-- plan: what an enqueue would answer now; nothing is written
-- KEYS[1] jobs       hash: id -> entry
-- KEYS[2] run        hash: id -> what changes
-- KEYS[3] opts       hash: id -> what is not default
-- KEYS[4] vars       hash: counters and limits
-- KEYS[5] ready      zset: id, score of (priority, place)
-- KEYS[6] suspect    zset: as ready
-- KEYS[7] delayed    zset: id, due ms
-- KEYS[8] unique     hash: key -> holder
-- KEYS[9] utime      zset: unique key, free at ms
-- KEYS[10] marker    zset: '0' while there may be work
-- KEYS[11] out       hash: id -> batch it is checked out under
-- ARGV[1] '' and ARGV[2] '0', unused  ARGV[3] clock shift ms  ARGV[4] as in enqueue  ARGV[5] how many jobs
-- ARGV[6 …] the jobs, as in enqueue; of their blobs the first byte is enough
-- RETURNS {0, now, receipts}; a receipt is '' where a job would be made, the id that stands, or '!' and the id that
--         takes the new content. {3, home, to} moved · {4, waiting, max} full · {5, id, key} conflict · {6, to}
-- COST O(jobs)
-- SINCE 1.0
-- USES base when run job unique spec
local now, count = clock(ARGV[3]), tonumber(ARGV[5])
local vars = call('HMGET', k_vars, 'home', 'to', 'max_size')
if vars[1] and vars[1] ~= 'arriving' then return {3, vars[1], vars[2]} end
if vars[2] and ARGV[4] ~= '3' then return {6, vars[2]} end
local planned_receipts, refusal = planned(6, count, vars[3], now)
if not planned_receipts then return refusal end
for i = 1, count do planned_receipts[i] = planned_receipts[i] or '' end
return {0, now, planned_receipts}
