"""Own the steps of delivery that must be one: Lua on keys of one tenant's cluster slot."""

from typing import Final

# Put events into the queues of their bindings and move the cursor, if it is still where it was: so each goes in once.
# KEYS cursor, due, endpoints. ARGV cursor expected, cursor new, now, prefix of queues, endpoint, then binding and item
# in turn. Returns 1, or 0 when another process was here first.
TAKE_IN: Final = """
if (redis.call('GET', KEYS[1]) or '') ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[2])
redis.call('SADD', KEYS[3], ARGV[5])
for i = 6, #ARGV, 2 do
  redis.call('RPUSH', ARGV[4] .. ARGV[i], ARGV[i + 1])
  redis.call('ZADD', KEYS[2], 'NX', ARGV[3], ARGV[i])
end
return 1
"""
# End the first item of a binding's queue: delivered, or dead with a letter to keep. Once something is delivered after
# failures the receiver is back, and whatever waits for another try is due. An item that was replayed before meanwhile
# stays behind what was put in front of it.
# KEYS queue, due, tries, failing, dead. ARGV item, binding, now, letter or '', letters kept.
END: Final = """
if redis.call('LREM', KEYS[1], 1, ARGV[1]) == 0 then return 0 end
redis.call('HDEL', KEYS[3], ARGV[2])
if redis.call('EXISTS', KEYS[1]) == 0 then redis.call('ZREM', KEYS[2], ARGV[2])
else redis.call('ZADD', KEYS[2], ARGV[3], ARGV[2]) end
if ARGV[4] ~= '' then
  redis.call('RPUSH', KEYS[5], ARGV[4])
  redis.call('LTRIM', KEYS[5], -tonumber(ARGV[5]), -1)
elseif redis.call('DEL', KEYS[4]) == 1 then
  for _, binding in ipairs(redis.call('ZRANGE', KEYS[2], 0, -1)) do redis.call('ZADD', KEYS[2], ARGV[3], binding) end
end
return 1
"""
# Put the dead letters back, in front of what waits and in the order they had. Returns how many.
# KEYS dead, due, tries. ARGV now, prefix of queues.
REPLAY: Final = """
local letters = redis.call('LRANGE', KEYS[1], 0, -1)
for i = #letters, 1, -1 do
  local letter = cjson.decode(letters[i])
  redis.call('LPUSH', ARGV[2] .. letter.binding, ARGV[1] .. '\\n' .. letter.message)
  redis.call('ZADD', KEYS[2], ARGV[1], letter.binding)
  redis.call('HDEL', KEYS[3], letter.binding)
end
redis.call('DEL', KEYS[1])
return #letters
"""
# Go back to an earlier event: what waits of later ones leaves the queues, for it is taken in again after the cursor.
# A queue is in the order of its events, so that its end is cut off; what is no event of the stream stays.
# KEYS cursor, due, tries, endpoints. ARGV prefix of queues, endpoint, epoch, and the two numbers of the event's id.
REWIND: Final = """
local function later(item)
  local epoch, ms, sequence = item:match('^[^\\n]*\\n(%x+)%-(%d+)%-(%d+)\\n')
  if epoch ~= ARGV[3] then return false end
  ms, sequence = tonumber(ms), tonumber(sequence)
  return ms > tonumber(ARGV[4]) or ms == tonumber(ARGV[4]) and sequence > tonumber(ARGV[5])
end
for _, binding in ipairs(redis.call('ZRANGE', KEYS[2], 0, -1)) do
  local queue = ARGV[1] .. binding
  local last = redis.call('LINDEX', queue, -1)
  while last and later(last) do
    redis.call('RPOP', queue)
    last = redis.call('LINDEX', queue, -1)
  end
  if not last then
    redis.call('ZREM', KEYS[2], binding)
    redis.call('HDEL', KEYS[3], binding)
  end
end
redis.call('SET', KEYS[1], ARGV[3] .. '-' .. ARGV[4] .. '-' .. ARGV[5])
redis.call('SADD', KEYS[4], ARGV[2])
return 1
"""
# Give a lease back, or make it longer, if it is ours. KEYS lease. ARGV owner, milliseconds (0: give it back).
LEASE: Final = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
if ARGV[2] == '0' then return redis.call('DEL', KEYS[1]) end
return redis.call('PEXPIRE', KEYS[1], ARGV[2])
"""
