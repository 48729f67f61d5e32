-- One call of one gateway about one counter. What was lost on the way is undone, what it tells is booked, and it is lent
-- what it needs. All numbers are whole and below 2^53; time is this server's, in microseconds, and never steps back.
--
-- KEYS[1]  the counter, a hash:
--            used      what is counted, leases included     at     the time of the last call
--            born      the time of the first                win    the window (sliding: the newest slot)
--            frac      what a bucket was filled beyond whole units, in units times microseconds
--            learns    until when nothing is lent, since it was found out that what was counted is lost
--            s<SLOT>   what is counted in a slot            h<HOLDER>  SEQUENCE:LEASE:DEBT:RETURNED:WINDOW:AMOUNT
-- KEYS[2]  its holders, by when they were last heard of: a sorted set. Who is in it has a record h<HOLDER>
local counter, holders = KEYS[1], KEYS[2]
local holder, kind = ARGV[1], ARGV[4]
local sequence, acknowledged, amount, length = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[5]), tonumber(ARGV[6])
local need, want, returned, debt = tonumber(ARGV[7]), tonumber(ARGV[8]), tonumber(ARGV[9]), tonumber(ARGV[10])
-- What the holder knows to be booked for it: in which window, of which birth of the counter, how much.
local their_window, their_birth, known = tonumber(ARGV[11]), tonumber(ARGV[12]), tonumber(ARGV[13])
-- After how many microseconds a holder shares no more, and after how many its record goes; then the calendar's period: when
-- it began, ends, and the next ends.
local patience, memory = tonumber(ARGV[14]), tonumber(ARGV[15])
local begins, ends, next_ends = tonumber(ARGV[16]), tonumber(ARGV[17]), tonumber(ARGV[18])
local SLOTS, MOST = 60, 9007199254740991
-- For how many microseconds a counter that has lost what was counted hears of it from all gateways before it lends again;
-- what runs at a time is told each three seconds.
local LEARNING, LEARNING_NOW = 2000000, 4000000

local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local state = redis.call('HMGET', counter, 'used', 'at', 'born', 'win', 'frac', 'h' .. holder, 'learns')
local used, at = tonumber(state[1] or '0'), tonumber(state[2] or now)
local born, window, frac = tonumber(state[3] or now), tonumber(state[4] or '0'), tonumber(state[5] or '0')
local learns = tonumber(state[7] or '0')
now = math.max(now, at)

-- The holder's last call. One that comes after a later one was given up long ago.
local last, last_lease, last_debt, last_returned, last_window, holds = 0, 0, 0, 0, -1, 0
if state[6] then
  last, last_lease, last_debt, last_returned, last_window, holds =
    string.match(state[6], '(%d+):(%d+):(%d+):(%d+):(%d+):(%d+)')
  last, last_lease, last_debt = tonumber(last), tonumber(last_lease), tonumber(last_debt)
  last_returned, last_window, holds = tonumber(last_returned), tonumber(last_window), tonumber(holds)
end
if last >= sequence then return {'stale', 0, 0, 0, 0, 0, now, 0, 0} end

-- What a * b / m is, rounded down, and what is left over; exact, for a < m < 2^51.
local function muldiv(a, b, m)
  local quotient, rest, bit = 0, 0, 4503599627370496
  while bit >= 1 do
    quotient, rest = quotient * 2, rest * 2
    if b >= bit then b, rest = b - bit, rest + a end
    while rest >= m do quotient, rest = quotient + 1, rest - m end
    bit = bit / 2
  end
  return quotient, rest
end

-- Which window it is now, how long what is lent now is good for, and how long the counter has to be kept.
local current, good_for, keep = 0, patience, 0
if kind == 'bucket' then
  good_for, keep = length, 2 * length
elseif kind == 'sliding' then
  length = math.ceil(length / SLOTS)
  current = math.floor(now / length)
  good_for, keep = (current + SLOTS + 1) * length - now, 2 * (SLOTS + 1) * length
elseif kind == 'fixed' then
  current = math.floor(now / length)
  good_for = (current + 1) * length - now
elseif kind == 'calendar' then
  if now < begins or now >= next_ends then return {'outside', 0, 0, 0, 0, 0, now, 0, 0} end
  current = begins
  if now >= ends then begins, ends, current = ends, next_ends, ends end
  good_for = ends - now
end

-- Whether what was booked in a window is booked still.
local function stands(then_)
  if kind == 'bucket' then return true end
  if kind == 'sliding' then return then_ >= current - SLOTS end
  return then_ == current
end

-- The fields of these slots.
local function slots(first, last)
  local names = {}
  for slot = first, last do names[#names + 1] = string.format('s%.0f', slot) end
  return names
end

-- Of one that is sliding: books in the newest slot, and takes back from the oldest, which would be forgotten first.
local function book(units)
  used = math.min(used + units, MOST)
  if kind == 'sliding' and units > 0 then
    redis.call('HINCRBY', counter, string.format('s%.0f', current), string.format('%.0f', units))
  end
end

local function take_back(units)
  units = math.min(units, math.max(used, 0))
  used = used - units
  if used == 0 then frac = 0 end
  if kind ~= 'sliding' or units == 0 then return end
  local names = slots(current - SLOTS, current)
  for index, value in ipairs(redis.call('HMGET', counter, unpack(names))) do
    local part = math.min(units, tonumber(value or '0'))
    if part > 0 then
      redis.call('HINCRBY', counter, names[index], string.format('-%.0f', part))
      units = units - part
    end
  end
end

-- What time does.
if kind == 'bucket' and used > 0 then
  local whole = math.floor((now - at) / length)
  if whole * amount >= used then
    used, frac = 0, 0
  else
    local filled, rest = muldiv((now - at) - whole * length, amount, length)
    frac = frac + rest
    if frac >= length then filled, frac = filled + 1, frac - length end
    used = used - whole * amount - filled
    if used <= 0 then used, frac = 0, 0 end
  end
elseif kind == 'sliding' and current > window then
  local names = slots(math.max(window - SLOTS, 0), math.min(window, current - SLOTS - 1))
  if #names > 0 then
    for _, value in ipairs(redis.call('HMGET', counter, unpack(names))) do used = used - tonumber(value or '0') end
    redis.call('HDEL', counter, unpack(names))
  end
elseif kind == 'fixed' or kind == 'calendar' then
  -- One that is behind another that was there (gateways whose documents differ for a while) frees nothing.
  if current > window then used = 0 else current = window end
end
used, window = math.max(used, 0), current

-- Holders that were not heard of for so long that they are forgotten. What runs at the time is theirs no more; all else stays
-- booked.
for _, gone in ipairs(redis.call('ZRANGEBYSCORE', holders, '-inf', string.format('%.0f', now - memory))) do
  if gone ~= holder then
    local record = redis.call('HGET', counter, 'h' .. gone)
    local theirs = kind == 'now' and tonumber(string.match(record or ':0', '(%d+)$')) or 0
    if theirs > 0 and now - at > patience then
      -- Nobody called for so long, or the clock was set ahead: those who live are heard of soon.
      redis.call('ZADD', holders, string.format('%.0f', now - patience + LEARNING_NOW), gone)
    else
      used = used - theirs
      redis.call('HDEL', counter, 'h' .. gone)
      redis.call('ZREM', holders, gone)
    end
  end
end

-- What came of the holder's last calls is undone if it does not know of it; what was lost is booked again.
local lost = 0
if kind == 'now' then
  -- The holder knows best what it holds.
  used, holds = used - holds + known, known
  -- Counters are kept for longer than holders remember them: who knows of another birth has seen one that was lost.
  if their_birth ~= 0 and their_birth ~= born then learns = born + LEARNING_NOW end
else
  if last > acknowledged and stands(last_window) then
    take_back(last_lease + last_debt)
    book(last_returned)
  end
  if their_birth ~= born and stands(their_window) then
    book(known)
    lost = known
    if known > 0 then learns = born + LEARNING end
  end
end

-- What the holder tells.
if kind == 'now' then
  returned = math.min(returned, holds)
elseif not stands(their_window) then
  returned = 0
elseif not state[6] and (acknowledged < sequence - 1 or their_birth ~= born) then
  -- There is no record of the holder's last call, of which it has no answer: it may have given this back then. Or what it
  -- gives back was lost. What was booked again now is there to be taken back.
  returned = math.min(returned, lost)
end
take_back(returned)
book(debt)
holds = holds - returned + debt

-- What it is lent: all it needs or nothing, and beyond that a share of what is left.
redis.call('ZADD', holders, now, holder)
local sharers = redis.call('ZCOUNT', holders, string.format('(%.0f', now - patience), '+inf')
local left, lease = amount - used, 0
if left >= need and now >= learns then lease = math.max(need, math.min(want, math.floor(left / (2 * sharers)))) end
book(lease)
holds = holds + lease

-- After how long there may be what was needed; 0 if that is not known, or when the window ends.
local wait, missing = 0, need - left
if now < learns then
  wait = learns - now
elseif missing > 0 and kind == 'bucket' then
  wait = math.min(math.ceil(missing * length / math.max(amount, 1)), MOST)
elseif missing > 0 and kind == 'sliding' then
  local names = slots(current - SLOTS, current)
  for index, value in ipairs(redis.call('HMGET', counter, unpack(names))) do
    missing = missing - tonumber(value or '0')
    if missing <= 0 then
      wait = (current + index) * length - now
      break
    end
  end
end

if kind == 'bucket' then keep = keep + math.ceil(math.max(used, 0) / math.max(amount, 1)) * length else keep = keep + good_for end
keep = math.min(math.ceil(keep / 1000) + 10000, MOST / 1000)
redis.call('HSET', counter, 'used', used, 'at', now, 'born', born, 'win', window, 'frac', frac, 'learns', learns, 'h' .. holder,
  string.format('%.0f:%.0f:%.0f:%.0f:%.0f:%.0f', sequence, lease, debt + lost, returned, window, kind == 'now' and holds or 0))
redis.call('PEXPIRE', counter, keep)
redis.call('PEXPIRE', holders, keep)
return {'ok', lease, math.max(amount - used, 0), good_for, window, born, now, sharers, wait}
