"""Own the steps of publication that must be one, and the reading of many: Lua on keys of one tenant's cluster slot.

A key of another type than ours holds nothing: it is made anew.
"""

from typing import Final

# Where a binding is indexed: an own key for each status and each subject, whose names end in the labels.
_INDEX: Final = """
local function placed(prefix, label, id, ttl)
  if label == '' then return end
  local key = prefix .. label
  if redis.call('TYPE', key).ok ~= 'zset' then redis.call('DEL', key) end
  redis.call('ZADD', key, 0, id)
  redis.call('EXPIRE', key, ttl)
end
local function removed(prefix, label, id)
  if label and redis.call('TYPE', prefix .. label).ok == 'zset' then redis.call('ZREM', prefix .. label, id) end
end
"""
# Returns 1 when an event was written, 0 when none was due or the revision is an old one, -1 when something else was
# published since the version that the event's changes were computed against. An empty observation keeps the stored one.
# KEYS projection, events, epoch, index. ARGV version expected, version new, revision, stale, binding, observation,
# started, event or '', fresh epoch, ttl, events kept, index prefix, id, status, subject, revoked, back.
PUBLISH: Final = (
    _INDEX
    + """
for i, kind in ipairs({'hash', 'stream', 'string', 'zset'}) do
  if redis.call('TYPE', KEYS[i]).ok ~= kind then redis.call('DEL', KEYS[i]) end
end
local known = redis.call('HMGET', KEYS[1], 'revision', 'version', 'status', 'subject')
local version = known[2] and string.match(known[2], '^' .. string.rep('[0-9a-f]', 8) .. '$') or ''
if version ~= ARGV[1] then return -1 end
if tonumber(ARGV[3]) < (tonumber(known[1] or '-1') or -1) and ARGV[17] == '0' then return 0 end
redis.call('HSET', KEYS[1], 'revision', ARGV[3], 'version', ARGV[2], 'stale', ARGV[4], 'binding', ARGV[5],
  'status', ARGV[14], 'subject', ARGV[15])
if ARGV[16] == '1' then redis.call('HDEL', KEYS[1], 'observation', 'started')
elseif ARGV[6] ~= '' then redis.call('HSET', KEYS[1], 'observation', ARGV[6], 'started', ARGV[7]) end
redis.call('EXPIRE', KEYS[1], ARGV[10])
if known[3] ~= ARGV[14] then removed(ARGV[12], known[3], ARGV[13]) end
if known[4] ~= ARGV[15] then removed(ARGV[12], known[4], ARGV[13]) end
redis.call('ZADD', KEYS[4], 0, ARGV[13])
redis.call('EXPIRE', KEYS[4], ARGV[10])
placed(ARGV[12], ARGV[14], ARGV[13], ARGV[10])
placed(ARGV[12], ARGV[15], ARGV[13], ARGV[10])
if ARGV[8] == '' then return 0 end
if redis.call('SET', KEYS[3], ARGV[9], 'NX', 'EX', ARGV[10]) == false then redis.call('EXPIRE', KEYS[3], ARGV[10]) end
redis.call('XADD', KEYS[2], 'MAXLEN', '~', ARGV[11], '*', 'epoch', redis.call('GET', KEYS[3]), 'event', ARGV[8])
redis.call('EXPIRE', KEYS[2], ARGV[10])
return 1
"""
)
# KEYS projections; ARGV fields. Returns the fields of each, nothing of one that is none: a hundred in one answer.
READ: Final = """
local found = {}
for place, key in ipairs(KEYS) do
  local fields = redis.pcall('HMGET', key, unpack(ARGV))
  found[place] = fields.err and {} or fields
end
return found
"""
# KEYS projection, index; ARGV id, index prefix.
FORGET: Final = (
    _INDEX
    + """
if redis.call('TYPE', KEYS[1]).ok == 'hash' then
  for _, label in ipairs(redis.call('HMGET', KEYS[1], 'status', 'subject')) do removed(ARGV[2], label, ARGV[1]) end
end
if redis.call('TYPE', KEYS[2]).ok == 'zset' then redis.call('ZREM', KEYS[2], ARGV[1]) end
return redis.call('DEL', KEYS[1])
"""
)
# KEYS index; ARGV the member that says that it is whole, ttl.
WHOLE: Final = """
if redis.call('TYPE', KEYS[1]).ok ~= 'zset' then redis.call('DEL', KEYS[1]) end
redis.call('ZADD', KEYS[1], 0, ARGV[1])
return redis.call('EXPIRE', KEYS[1], ARGV[2])
"""
