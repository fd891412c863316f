#!lua flags=allow-oom
-- Appends one record, in one round trip. Random numbers come from the caller.
--
-- Not refused when memory is full: what a journal takes is bounded, and an invalidation must not fail because the
-- payloads beside it are many. Refused by a replica, since it writes.
--
-- KEYS  1 head, 2 log, 3 large
-- ARGV  1 the record's nonce   2 its body   3 records to keep and 4 bytes to keep   5 PUBLISH or SPUBLISH   6 the channel
--       and, for a record about an intent:
--       7 its field   8 what is kept of it while it is open, or nothing if this closes it   9 how many may be open
-- Answers the epoch, position and nonce of what the record follows; or why not: none, form, open, meddled.
--
-- The head, by byte: 1 form, 2-33 epoch, 34-49 position, 50-65 nonce, 66-81 oldest position, 82-97 its nonce, 98-113 bytes
-- appended so far in this epoch, 114-129 how many of them up to the oldest place. It is one field beside those of the open
-- intents, so that no eviction takes one without the other, and one string, because that is quick.
-- A record: 1-16 its nonce, 17-32 that of the one before, 33-48 bytes appended so far, 49 S or L, and if S its body.
local call, sub, format = redis.call, string.sub, string.format
-- As 16 digits. The first way is much quicker, and where numbers of C are short it fails beyond 31 bits.
local function digits(n)
  return n < 2147483648 and format('%016d', n) or format('%016.0f', n)
end
local head = call('HGET', KEYS[1], 'head')
if not head then return 'none' end
if sub(head, 1, 1) ~= '1' then return 'form' end

local field, kept = ARGV[7], ARGV[8]
local opens = field and kept ~= ''
if opens and (call('HLEN', KEYS[1]) > tonumber(ARGV[9]) or call('HEXISTS', KEYS[1], field) == 1) then
  return 'open'
end

local nonce, body = ARGV[1], ARGV[2]
local position = sub(head, 34, 49) + 1
-- A large body lives beside the log, so that nobody reads one without having seen how large it is.
local is_large = #body > 4096
local at = digits(position)
local total = sub(head, 98, 113) + 49 + #body
local totalled = digits(total)
local record = nonce .. sub(head, 50, 65) .. totalled .. (is_large and 'L' or 'S' .. body)
local added = redis.pcall('XADD', KEYS[2], at, 'r', record)
if type(added) == 'table' then
  -- The log has more than the head knows of, or is something else. Whatever else went wrong is said as it is.
  local why = added.err or ''
  local is_meddled = string.find(why, 'equal or smaller', 1, true) or string.find(why, 'WRONGTYPE', 1, true)
  return is_meddled and 'meddled' or added
end
if is_large then call('HSET', KEYS[3], format('%.0f', position), body) end
if opens then
  call('HSET', KEYS[1], field, kept)
elseif field then
  call('HDEL', KEYS[1], field)
end

local start, before = sub(head, 66, 97), sub(head, 114, 129)
if position % 64 == 0 or is_large then
  local oldest = tonumber(sub(head, 66, 81))
  local most = math.min(128, position - 1 - oldest)
  local drop = math.min(most, position - oldest - tonumber(ARGV[3]))
  local bytes_max = tonumber(ARGV[4])
  if total - tonumber(before) > bytes_max and most > 0 then
    for i, row in ipairs(call('XRANGE', KEYS[2], format('%.0f', oldest + 1), '+', 'COUNT', most)) do
      drop = math.max(drop, i)
      if total - tonumber(sub(row[2][2], 33, 48)) <= bytes_max then break end
    end
  end
  if drop > 0 then
    local place = format('%.0f', oldest + drop)
    local row = call('XRANGE', KEYS[2], place, place)[1]
    if row then
      call('XTRIM', KEYS[2], 'MINID', '=', format('%.0f', oldest + drop + 1))
      start, before = format('%016.0f', oldest + drop) .. sub(row[2][2], 1, 16), sub(row[2][2], 33, 48)
      if call('HLEN', KEYS[3]) > 1 then
        local places = {}
        for i = 1, drop do places[i] = format('%.0f', oldest + i) end
        call('HDEL', KEYS[3], unpack(places))
      end
    else
      -- Records are missing. Nobody can read through the hole: reading begins anew here.
      call('UNLINK', KEYS[2], KEYS[3])
      call('HSET', KEYS[3], '-', '')
      start, before = at .. nonce, totalled
    end
  end
end

call('HSET', KEYS[1], 'head', sub(head, 1, 33) .. at .. nonce .. start .. totalled .. before)
local follows = sub(head, 2, 65)
-- A hint, with the record if it is small. That it cannot be given must not undo what has been done.
redis.pcall(ARGV[5], ARGV[6], is_large and follows or follows .. record)
return follows
