-- The records right after a place, and the head, in one answer. Writes nothing, and must not say so: a replica would
-- carry it out, and a replica lags.
--
-- KEYS  1 head, 2 log, 3 large
-- ARGV  1 the place's epoch   2 its position   3 its nonce   4 how many records at most
--       5 how many bytes at most, or -1 for any number
-- Answers {'ok', position of the head, its nonce, records...}, {'large'} when the first record alone is more than that,
-- or {why not, ...}.
local call, sub = redis.call, string.sub
local head = call('HGET', KEYS[1], 'head')
if not head then return {'none'} end
if sub(head, 1, 1) ~= '1' then return {'form', sub(head, 1, 1)} end
if sub(head, 2, 33) ~= ARGV[1] then return {'epoch', sub(head, 2, 33)} end
local at, last, oldest = tonumber(ARGV[2]), tonumber(sub(head, 34, 49)), tonumber(sub(head, 66, 81))
if at > last then return {'beyond', sub(head, 34, 49)} end
if at < oldest then return {'compacted', sub(head, 66, 81)} end
if at == oldest and ARGV[3] ~= sub(head, 82, 97) then return {'nonce'} end
if at == last and ARGV[3] ~= sub(head, 50, 65) then return {'nonce'} end

local answer, n = {'ok', sub(head, 34, 49), sub(head, 50, 65)}, 3
local left, room = tonumber(ARGV[4]), tonumber(ARGV[5])
local from = string.format('%.0f', at + 1)
while left > 0 and at < last do
  local asked = math.min(left, 128)
  local rows = call('XRANGE', KEYS[2], from, '+', 'COUNT', asked)
  for i = 1, #rows do
    local record = rows[i][2][2]
    if string.byte(record, 49) == 76 then
      local place = string.match(rows[i][1], '^%d+')
      if room >= 0 and call('HSTRLEN', KEYS[3], place) > room then
        return n > 3 and answer or {'large'}
      end
      record = record .. (call('HGET', KEYS[3], place) or '')
    end
    if room >= 0 then
      if n > 3 and #record > room then return answer end
      room = math.max(0, room - #record)
    end
    n = n + 1
    answer[n] = record
  end
  if #rows < asked then break end
  left = left - asked
  from = '(' .. rows[#rows][1]
end
return answer
