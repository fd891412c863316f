-- What the script for reading begins with when the reader is to be noted first, so that whoever appends something that is
-- not in the answer finds it there. After presence.lua.
--
-- KEYS  4 nodes
-- ARGV  6 the node   7 for how many milliseconds; it has applied the place it reads after
attend(KEYS[4], ARGV[6], ARGV[7], ARGV[1] .. string.format('%016.0f', tonumber(ARGV[2])) .. ARGV[3])
