package redisstore

import "github.com/redis/go-redis/v9"

// names are the keys of one prefix. The braces make the prefix the hash tag of all of them,
// so every script works on a single cluster slot.
type names struct {
	values string // followed by a key: string, "pm1 <revision> <length>\n<value>"
	index  string // sorted set of all keys, score 0: List in key order without SCAN
	logs   string // followed by a log: stream, IDs <sequence>-0, one field "v"
	leases string // followed by a name: string, "pm1 <token> <holder>", expiring
	clock  string // the last number given as revision, sequence or token
	hints  string // channel on which each write publishes its key
}

func namesFor(prefix string) names {
	tag := "{" + prefix + "}:"
	return names{
		values: tag + "k:", index: tag + "i", logs: tag + "l:", leases: tag + "h:",
		clock: tag + "clock", hints: tag + "hint",
	}
}

// luaNext defines next(clock), which gives numbers that only rise: it follows the server's
// clock in microseconds and counts on where that would repeat. So numbers rise also after a
// FLUSHALL or a failover that lost the last writes, as far as the servers' clocks agree. They
// stay below 2^53 and thus exact in Lua until the year 2255.
const luaNext = `
local function next(clock)
  local last = redis.call('GET', clock)
  if last then last = tonumber(last) else last = 0 end
  if not last or last < 0 or last >= 9007199254740000 then
    error({err = 'GARBAGE in the clock ' .. clock})
  end
  local t = redis.call('TIME')
  local n = math.max(last + 1, tonumber(t[1]) * 1000000 + tonumber(t[2]))
  n = string.format('%.0f', n)
  redis.call('SET', clock, n)
  return n
end
`

// luaRevision defines revision(key): '0' when there is none, nil for garbage. It reads the
// head alone, since a value may be a megabyte.
const luaRevision = `
local function revision(key)
  local head = redis.call('GETRANGE', key, 0, 47)
  if head == '' and redis.call('EXISTS', key) == 0 then return '0' end
  local r = string.match(head, '^pm1 (%d+) %d+\n')
  if not r then error({err = 'GARBAGE in ' .. key}) end
  return r
end
`

// The index is written before the value: a script that the server stops between the two then
// leaves a name without a value, which is invisible, not a value that List can't see.
func newScripts() scripts {
	return scripts{
		// KEYS value index clock; ARGV key value expect|"" ttl_ms|"" channel
		put: redis.NewScript(luaNext + luaRevision + `
if ARGV[3] ~= '' then
  local have = revision(KEYS[1])
  if have ~= ARGV[3] then return {'conflict', have} end
end
local n = next(KEYS[3])
local value = 'pm1 ' .. n .. ' ' .. #ARGV[2] .. '\n' .. ARGV[2]
redis.call('ZADD', KEYS[2], 0, ARGV[1])
if ARGV[4] ~= '' then
  redis.call('SET', KEYS[1], value, 'PX', ARGV[4])
else
  redis.call('SET', KEYS[1], value)
end
redis.call('PUBLISH', ARGV[5], ARGV[1])
return {'ok', n}
`),
		// KEYS value index; ARGV key expect|"" channel
		remove: redis.NewScript(luaRevision + `
if ARGV[2] ~= '' then
  local have = revision(KEYS[1])
  if have == '0' then return {'absent'} end
  if have ~= ARGV[2] then return {'conflict', have} end
end
redis.call('DEL', KEYS[1])
redis.call('ZREM', KEYS[2], ARGV[1])
redis.call('PUBLISH', ARGV[3], ARGV[1])
return {'ok'}
`),
		// KEYS index; ARGV values-prefix lex-min lex-max budget_bytes
		// Names whose value has expired are dropped on the way, where the server allows it.
		list: redis.NewScript(`
local min, room, out = ARGV[2], tonumber(ARGV[4]), {'done', ''}
while true do
  local found = redis.call('ZRANGEBYLEX', KEYS[1], min, ARGV[3], 'LIMIT', 0, 64)
  for _, key in ipairs(found) do
    local value = redis.call('GET', ARGV[1] .. key)
    room = room - #key - 64
    if value then
      room = room - #value
      out[#out + 1] = key
      out[#out + 1] = value
    else
      redis.pcall('ZREM', KEYS[1], key)
    end
    out[2] = key
    if room <= 0 then
      out[1] = 'more'
      return out
    end
  end
  if #found < 64 then return out end
  min = '(' .. out[2]
end
`),
		// KEYS stream clock; ARGV log value channel
		// A stream refuses IDs below its last: when the clock was lost, go on from there.
		add: redis.NewScript(luaNext + `
local n = next(KEYS[2])
local r = redis.pcall('XADD', KEYS[1], n .. '-0', 'v', ARGV[2])
if type(r) == 'table' and r.err and string.find(r.err, 'equal or smaller') then
  local info, last = redis.call('XINFO', 'STREAM', KEYS[1]), nil
  for i = 1, #info, 2 do
    if info[i] == 'last-generated-id' then last = string.match(info[i + 1], '^(%d+)-') end
  end
  last = tonumber(last)
  if not last or last >= 9007199254740000 then
    return redis.error_reply('GARBAGE in ' .. KEYS[1])
  end
  n = string.format('%.0f', last + 1)
  redis.call('SET', KEYS[2], n)
  r = redis.call('XADD', KEYS[1], n .. '-0', 'v', ARGV[2])
end
if type(r) == 'table' and r.err then return r end
redis.call('PUBLISH', ARGV[3], ARGV[1])
return {'ok', n}
`),
		// KEYS lease clock; ARGV holder ttl_ms
		acquire: redis.NewScript(luaNext + `
local v = redis.call('GET', KEYS[1])
if v then
  local token, holder = string.match(v, '^pm1 (%d+) (.+)$')
  if not token then return redis.error_reply('GARBAGE in ' .. KEYS[1]) end
  if holder ~= ARGV[1] then return {'held', holder} end
  redis.call('SET', KEYS[1], v, 'PX', ARGV[2])
  return {'ok', token}
end
local n = next(KEYS[2])
redis.call('SET', KEYS[1], 'pm1 ' .. n .. ' ' .. ARGV[1], 'PX', ARGV[2])
return {'ok', n}
`),
		// KEYS lease; ARGV content
		release: redis.NewScript(`
if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('DEL', KEYS[1]) end
return {'ok'}
`),
	}
}

// scripts are sent by their hash, and whole when the server does not know that yet.
type scripts struct{ put, remove, list, add, acquire, release *redis.Script }
