-- configure: replace both layers of a configuration, if nobody else did
-- KEYS[1] conf    hash: rev, declared, override
-- KEYS[2] vars    hash: counters and limits
-- KEYS[3] marker  zset: '0' while there may be work
-- ARGV[1] the rev that was read  ARGV[2] declared, JSON  ARGV[3] override, JSON
-- ARGV[4 …] name and effective value of what scripts look at ('' removes it)
-- RETURNS {1, rev} written, now or by an earlier try of this call; {0, rev} somebody else was here
--         {2, home, to} moved
-- COST O(1)
-- SINCE 1.0
-- USES base
call('ZREM', k_marker, '-') -- shrinks, so that a full server lets itself be paused
local home = call('HMGET', k_vars, 'home', 'to')
if home[1] == 'moving' or home[1] == 'gone' then return {2, home[1], home[2]} end
local was = call('HMGET', k_conf, 'rev', 'declared', 'override')
local rev = tonumber(was[1] or 0)
if rev == ARGV[1] + 1 and was[2] == ARGV[2] and was[3] == ARGV[3] then return {1, rev} end
if rev ~= tonumber(ARGV[1]) then return {0, rev} end
call('HSET', k_conf, 'rev', rev + 1, 'declared', ARGV[2], 'override', ARGV[3])
for a = 4, #ARGV, 2 do
  if ARGV[a + 1] == '' then
    call('HDEL', k_vars, ARGV[a])
  else
    call('HSET', k_vars, ARGV[a], ARGV[a + 1])
  end
end
call('ZADD', k_marker, 0, '0')
return {1, rev + 1}
