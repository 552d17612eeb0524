"""Own the steps of the queue that must be one step: Lua that Redis runs as a whole, all on keys of one cluster slot.

A key of another type than ours holds nothing, and holds nobody up.
"""

from typing import Final

# KEYS due, attempts, soon, asked, background; ARGV now in ms, group, how many entries may wait in the background.
# First what somebody waits for. Of the rest only what will be read soon: a stream is worked off in its order, so a long
# one would make what is due now wait for all of it. Returns how many were moved.
SWEEP: Final = """
local function move(set, stream, most)
  local found = redis.call('ZRANGEBYSCORE', set, '-inf', ARGV[1], 'LIMIT', 0, most)
  for _, member in ipairs(found) do
    local attempt = redis.call('HGET', KEYS[2], member) or '0'
    redis.call('ZREM', KEYS[1], member)
    redis.call('ZREM', KEYS[3], member)
    redis.call('HDEL', KEYS[2], member)
    local tenant, binding = string.match(member, '^(%w+):(%w+)$')
    if tenant then
      local cause = attempt == '0' and 'schedule' or 'retry'
      redis.call('XADD', stream, '*', 'tenant', tenant, 'binding', binding, 'cause', cause, 'attempt', attempt)
    end
  end
  return #found
end
local moved = move(KEYS[3], KEYS[4], 100)
local pending = redis.pcall('XPENDING', KEYS[5], ARGV[2])
local room = tonumber(ARGV[3]) - redis.call('XLEN', KEYS[5]) + (pending.err and 0 or pending[1])
if room > 0 then moved = moved + move(KEYS[1], KEYS[5], room) end
return moved
"""
# Take a binding's lock for the job ARGV[1], which may hold it already, for ARGV[2] ms; return the time in ms or 0.
# A lock that is not one of ours, or would be held for longer than any of ours, holds nobody up.
LOCK: Final = """
local left = redis.call('PTTL', KEYS[1])
local ours = redis.call('TYPE', KEYS[1]).ok == 'string' and left >= 0 and left <= tonumber(ARGV[2])
if ours and redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
local now = redis.call('TIME')
return now[1] * 1000 + math.floor(now[2] / 1000)
"""
# KEYS stream, due, attempts, soon, waiting, lock. ARGV group, entry, lock token, member, now in ms, when next in ms or
# '', attempt, replace, the submitter's entry or '', verified, reply, start of the verification in ms, prefix of the
# reply lists, their ttl in s, delay in ms for those who asked after the verification had begun, how many others to
# bring forward, how many failures in a row make them one of those.
FINISH: Final = """
redis.call('XACK', KEYS[1], ARGV[1], ARGV[2])
redis.call('XDEL', KEYS[1], ARGV[2])
local member, at, replace = ARGV[4], ARGV[6], ARGV[8] == '1'
local changed = replace
if at ~= '' and replace then redis.call('ZADD', KEYS[2], at, member)
elseif at ~= '' then changed = redis.call('ZADD', KEYS[2], 'NX', at, member) == 1
elseif replace then redis.call('ZREM', KEYS[2], member) end
if changed and at ~= '' and ARGV[7] ~= '0' then redis.call('HSET', KEYS[3], member, ARGV[7])
elseif changed then redis.call('HDEL', KEYS[3], member) end
if redis.call('TYPE', KEYS[5]).ok ~= 'list' then redis.call('DEL', KEYS[5]) end
if ARGV[9] ~= '' then redis.call('RPUSH', KEYS[5], ARGV[9]) end
local later = false
for _, entry in ipairs(redis.call('LRANGE', KEYS[5], 0, -1)) do
  local since = tonumber(string.match(entry, '^(%d+)-%d+$') or '')
  local served = entry == ARGV[9] or (since and since < tonumber(ARGV[12]))
  if not since or (served and ARGV[11] == '1') then redis.call('LREM', KEYS[5], 1, entry) end
  if since and served and ARGV[11] == '1' then
    redis.call('RPUSH', ARGV[13] .. entry, ARGV[10])
    redis.call('EXPIRE', ARGV[13] .. entry, ARGV[14])
  end
  later = later or (since and not served)
end
if redis.call('EXISTS', KEYS[5]) == 1 then
  redis.call('EXPIRE', KEYS[5], ARGV[14])
  if later or at == '' then at = ARGV[5] + ARGV[15] end
  redis.call('ZADD', KEYS[4], at, member)
  redis.call('ZADD', KEYS[2], 'LT', at, member)
else
  redis.call('ZREM', KEYS[4], member)
end
if redis.pcall('GET', KEYS[6]) == ARGV[3] then redis.call('DEL', KEYS[6]) end
if ARGV[16] ~= '0' and redis.call('EXISTS', KEYS[3]) == 1 then
  local others = redis.call('HRANDFIELD', KEYS[3], ARGV[16], 'WITHVALUES')
  for i = 1, #others, 2 do
    local failing = (tonumber(others[i + 1]) or 0) >= tonumber(ARGV[17])
    if failing then redis.call('ZADD', KEYS[2], 'XX', 'LT', ARGV[5], others[i]) end
  end
end
return 0
"""
# Put a job back whose binding is being verified for another one. That one answers those who asked before it began.
# KEYS stream, due, attempts, soon, waiting; ARGV group, entry, member, attempt, when again in ms, the submitter's entry
# or '', ttl in s, whether somebody may be waiting.
GIVE_BACK: Final = """
redis.call('XACK', KEYS[1], ARGV[1], ARGV[2])
redis.call('XDEL', KEYS[1], ARGV[2])
if redis.call('ZADD', KEYS[2], 'NX', ARGV[5], ARGV[3]) == 1 and ARGV[4] ~= '0' then
  redis.call('HSET', KEYS[3], ARGV[3], ARGV[4])
end
if ARGV[8] == '1' then redis.call('ZADD', KEYS[4], 'NX', ARGV[5], ARGV[3]) end
if ARGV[6] == '' then return 0 end
if redis.call('TYPE', KEYS[5]).ok ~= 'list' then redis.call('DEL', KEYS[5]) end
redis.call('RPUSH', KEYS[5], ARGV[6])
return redis.call('EXPIRE', KEYS[5], ARGV[7])
"""
# Remove consumers without pending jobs that have been idle for ARGV[2] ms; one with pending jobs is never removed.
TIDY: Final = """
if redis.call('EXISTS', KEYS[1]) == 0 then return 0 end
local removed = 0
for _, item in ipairs(redis.call('XINFO', 'CONSUMERS', KEYS[1], ARGV[1])) do
  local facts = {}
  for i = 1, #item, 2 do facts[item[i]] = item[i + 1] end
  if facts['pending'] == 0 and facts['idle'] >= tonumber(ARGV[2]) then
    redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], facts['name'])
    removed = removed + 1
  end
end
return removed
"""
