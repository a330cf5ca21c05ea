/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What writes does so first by HSET, which is refused when Redis is out of memory: then nothing has
 * been done. Numbers of more than 14 digits become text by format, for tostring would round them.
 */
#include "actors/values/value_scripts.h"

/* The time: `us` and `now` in ms. */
#define TIME "local t=redis.call('time') local us=t[1]*1000000+t[2] local now=math.floor(us/1000) "

/* So long may a write be under way behind its tags: another one of the same key may have taken its
 * entry over, which has to stay until then. */
#define LATE_US "60000000"

/* The next version `n` behind the text or nothing in `before`. */
#define NEXT(before)                                                                               \
    "if " before " and us<=tonumber(" before ") then us=" before "+1 end "                         \
    "local n=string.format('%.0f',us) "

const char *const value_scripts[VALUE_SCRIPT_COUNT] = {
    [VALUE_SCRIPT_READ] = "local h=redis.call('hmget',KEYS[1],'v','z','n','e','le') "
                          "if not h[1] then return {'M'} end " TIME "local left=h[4]-now "
                          "if left>0 then return {'V',h[1],h[2],h[3],h[4],left} end "
                          "if h[5] and h[5]-now>0 then return {'S',h[1],h[2],h[3],h[4]} end "
                          "return {'M'}",

    [VALUE_SCRIPT_WRITE] =
        "local h=redis.call('hmget',KEYS[1],'n','e','l','le','v') " TIME
        "if ARGV[8]~='' and (h[3]~=ARGV[8] or h[4]-now<=0) then return {'L'} end "
        "if ARGV[7]~='' then local c='0' if h[5] and h[2]-now>0 then c=h[1] end "
        "if c~=ARGV[7] then return {'C',c} end end " NEXT(
            "h[1]") "local e=string.format('%.0f',now+ARGV[3]) "
                    "redis.call('hset',KEYS[1],'v',ARGV[1],'z',ARGV[2],'n',n,'e',e,'t',ARGV[5],'s',"
                    "ARGV[6]) "
                    "redis.call('hdel',KEYS[1],'l','le') "
                    "redis.call('pexpire',KEYS[1],ARGV[3]+ARGV[4]) "
                    "redis.call('publish',ARGV[9],n..' '..ARGV[10]) return {'D',n,e}",

    [VALUE_SCRIPT_DROP] =
        "local h=redis.call('hmget',KEYS[1],'v','t','s','e','n','l') "
        "if not h[1] and not h[6] then return {0,0} end " TIME
        "if ARGV[1]~='' and h[1] and not string.find(h[2],'\\n'..ARGV[1]..'\\n',1,true) then "
        "if h[6] then redis.call('hdel',KEYS[1],'l','le') end return {0,0} end " NEXT(
            "h[5]") "redis.call('del',KEYS[1]) redis.call('publish',ARGV[3],n..' '..ARGV[4]) "
                    "if not h[1] then return {0,0} end "
                    "return {h[4]-now>0 and 1 or 0,h[3]==ARGV[2] and us-h[5]>" LATE_US
                    " and 1 or 0}",

    [VALUE_SCRIPT_INCREMENT] =
        "local h=redis.call('hmget',KEYS[1],'v','z','n','e') " TIME "local e=h[4] "
        "if h[1] and h[4]-now>0 then if h[2]~='0' then return {'I'} end "
        "local r=redis.pcall('hincrby',KEYS[1],'v',ARGV[1]) "
        "if type(r)=='table' and r.err then "
        "if string.find(r.err,'overflow',1,true) then return {'O'} end "
        "if string.find(r.err,'not an integer',1,true) then return {'I'} end return r end " NEXT(
            "h[3]") "redis.call('hset',KEYS[1],'n',n) us=n "
                    "else " NEXT("h[3]") "e=string.format('%.0f',now+ARGV[2]) "
                                         "redis.call('hset',KEYS[1],'v',ARGV[1],'z','0','n',n,'e',"
                                         "e,'t','','s','') "
                                         "redis.call('pexpire',KEYS[1],ARGV[2]+ARGV[3]) us=n end "
                                         "redis.call('hdel',KEYS[1],'l','le') "
                                         "redis.call('publish',ARGV[4],us..' '..ARGV[5]) "
                                         "return {'D',us,e,redis.call('hget',KEYS[1],'v'),e-now}",

    [VALUE_SCRIPT_LEASE] =
        "local h=redis.call('hmget',KEYS[1],'v','z','n','e','l','le') " TIME
        "if h[1] and h[4]-now>0 then return {'V',h[1],h[2],h[3],h[4],h[4]-now} end "
        "if h[5] and h[6]-now>0 then if h[1] then return {'S',h[1],h[2],h[3],h[4]} end "
        "return {'H',h[6]-now} end "
        "local l=ARGV[1]..':'..string.format('%.0f',us) "
        "redis.call('hset',KEYS[1],'l',l,'le',string.format('%.0f',now+ARGV[2])) "
        "if redis.call('pttl',KEYS[1])<tonumber(ARGV[2]) then "
        "redis.call('pexpire',KEYS[1],ARGV[2]) end return {'F',l}",

    [VALUE_SCRIPT_RELEASE] =
        "local h=redis.call('hmget',KEYS[1],'l','n') if h[1]~=ARGV[1] then return {'M'} end "
        "redis.call('hdel',KEYS[1],'l','le') "
        "redis.call('publish',ARGV[2],(h[2] or '0')..' '..ARGV[3]) return {'M'}",

    [VALUE_SCRIPT_TAG] = "local m=ARGV[3]~='' and redis.call('get',KEYS[2]) "
                         "if m and tonumber(m)>=tonumber(ARGV[3]) then return 0 end "
                         "redis.call('zadd',KEYS[1],ARGV[2],ARGV[1]) "
                         "local o=redis.call('zrangebyscore',KEYS[1],'-inf',ARGV[5],'limit',0,8) "
                         "if #o>0 then redis.call('zrem',KEYS[1],unpack(o)) end "
                         "if redis.call('pttl',KEYS[1])<tonumber(ARGV[4]) then "
                         "redis.call('pexpire',KEYS[1],ARGV[4]) end return 1",

    [VALUE_SCRIPT_MARK] =
        TIME "redis.call('set',KEYS[1],string.format('%.0f',us),'px',ARGV[1]) return us",

    [VALUE_SCRIPT_UNTAG] = "local c=0 for i=1,#ARGV,2 do local s=redis.call('zscore',KEYS[1],"
                           "ARGV[i]) if s and tonumber(s)==tonumber(ARGV[i+1]) then "
                           "c=c+redis.call('zrem',KEYS[1],ARGV[i]) end end return c",
};
