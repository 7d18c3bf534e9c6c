-- schedules: a page of them by id
-- KEYS[1] schedules  zset of score 0: id
-- KEYS[2] rules      hash: id -> definition
-- KEYS[3] slots      hash: id -> what firing moves
-- ARGV[1] behind which id ('' from the start)  ARGV[2] limit
-- RETURNS {{id …}, {slot …}, {definition …}}
-- COST O(log n + limit)
-- SINCE 1.0
-- USES base slots
return {shown(call('ZRANGEBYLEX', k_schedules, ARGV[1] == '' and '-' or '(' .. ARGV[1], '+', 'LIMIT', 0, ARGV[2]))}
