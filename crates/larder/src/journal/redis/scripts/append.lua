#!lua flags=allow-oom
-- Appends one record, in one round trip. Random numbers come from the caller.
--
-- Not refused when memory is full: what a journal takes is bounded, and an invalidation must not fail because the
-- payloads beside it are many. Refused by a replica, since it writes.
--
-- KEYS  1 head, 2 log, 3 large
-- ARGV  1 an epoch, should a history have to begin   2 the record's nonce   3 its body
--       4 records to keep   5 bytes to keep   6 PUBLISH or SPUBLISH   7 the channel of hints
--       8 the field of its intent, or nothing   9 what is kept of it while it is open, or nothing if this closes it
--       10 how many intents may be open
-- Answers {'ok', epoch, position, nonce of the place before it}, {'open'} or {'form', form}.
local head = redis.call('HMGET', KEYS[1], 'form', 'epoch', 'position', 'nonce', 'oldest', 'bytes', 'open')
local epoch, after = head[2], head[4]
local position, oldest = tonumber(head[3]), tonumber(head[5])
local bytes, open = tonumber(head[6]), tonumber(head[7])
if head[1] and head[1] ~= '1' then return {'form', head[1]} end

local field, kept = ARGV[8], ARGV[9]
local opens = field ~= '' and kept ~= ''
if opens and epoch and (open >= tonumber(ARGV[10]) or redis.call('HEXISTS', KEYS[1], field) == 1) then
  return {'open'}
end

local function begin(at, nonce)
  redis.call('UNLINK', KEYS[2], KEYS[3])
  epoch, position, after, oldest, bytes = ARGV[1], at, nonce, at, 0
  redis.call('HSET', KEYS[1], 'form', '1', 'epoch', epoch, 'oldest', string.format('%.0f', at), 'oldest_nonce', nonce)
end
-- The head and what is open are one key, so that no eviction takes one without the other. Without it there is no history,
-- whatever else is left.
if not epoch then
  open = 0
  begin(0, '0000000000000000')
end

local nonce, body = ARGV[2], ARGV[3]
local size = 33 + #body
-- A large body lives beside the log, so that nobody reads one without having seen how large it is.
local is_large = #body > 4096
local record = nonce .. after .. (is_large and 'L' or 'S' .. body)
local at = string.format('%.0f', position + 1)
local added = redis.pcall('XADD', KEYS[2], at .. '-0', 'r', record)
if type(added) == 'table' and added.err then
  -- Somebody meddled with the log. It cannot go on; another history can.
  begin(position, nonce)
  record = nonce .. after .. (is_large and 'L' or 'S' .. body)
  redis.call('XADD', KEYS[2], at .. '-0', 'r', record)
end
if is_large then redis.call('HSET', KEYS[3], at, body) end
position = position + 1
bytes = bytes + size

if opens then
  redis.call('HSET', KEYS[1], field, kept)
  open = open + 1
elseif field ~= '' then
  open = open - redis.call('HDEL', KEYS[1], field)
end

local records_max, bytes_max = tonumber(ARGV[4]), tonumber(ARGV[5])
local excess = position % 64 == 0 and (position - oldest > records_max or bytes > bytes_max)
-- A few large records are not waited for.
if excess or bytes > bytes_max + 33554432 then
  local newest_dropped
  for _, row in ipairs(redis.call('XRANGE', KEYS[2], '-', '+', 'COUNT', 128)) do
    if (position - oldest <= records_max and bytes <= bytes_max) or oldest + 1 >= position then break end
    local place = string.match(row[1], '^%d+')
    local dropped = row[2][2]
    if tonumber(place) ~= oldest + 1 then
      -- Records are missing. Nobody can read through the hole: reading begins anew here.
      redis.call('UNLINK', KEYS[2], KEYS[3])
      oldest, newest_dropped, bytes = position, nonce, 0
      break
    end
    local took = #dropped
    if string.byte(dropped, 33) == 76 then
      took = 33 + redis.call('HSTRLEN', KEYS[3], place)
      redis.call('HDEL', KEYS[3], place)
    end
    oldest, newest_dropped, bytes = oldest + 1, string.sub(dropped, 1, 16), bytes - took
  end
  if newest_dropped then
    redis.call('XTRIM', KEYS[2], 'MINID', '=', string.format('%.0f', oldest + 1))
    redis.call('HSET', KEYS[1], 'oldest', string.format('%.0f', oldest), 'oldest_nonce', newest_dropped)
  end
end

redis.call('HSET', KEYS[1], 'position', at, 'nonce', nonce, 'bytes', string.format('%.0f', bytes),
  'open', string.format('%.0f', open))
-- A hint: that it cannot be given must not undo what has been done.
redis.pcall(ARGV[6], ARGV[7], at)
return {'ok', epoch, at, after}
