/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The places are written first: where Redis is out of memory that is refused, and nothing has been
 * done.
 */
#include "actors/presence/presence_scripts.h"

#define TIME "local t=redis.call('time') local now=t[1]*1000+math.floor(t[2]/1000) local k=KEYS[1] "

/* For each place. */
#define EACH_PLACE                                                                                 \
    "local text=redis.call('hget',k,'') or '' "                                                    \
    "for p,u,v,b,c,n in string.gmatch(text,"                                                       \
    "'(%x+) (%d+) (%d+) (%d+) (%d+) ([^\\n]*)\\n') do "

/* For each place of a user's value `v`. */
#define EACH_HOLDER "for p,c in string.gmatch(v,'(%x+):(%d+)') do "

const char *const presence_scripts[PRESENCE_SCRIPT_COUNT] = {
    [PRESENCE_SCRIPT_TELL] =
        TIME "local me=ARGV[1] local list,at={},{} " EACH_PLACE
             "local x={p,tonumber(u),v,b,c,n} list[#list+1]=x at[p]=x end "
             "local x=at[me] "
             "if ARGV[4]=='0' then if x then return {0} end "
             "x={me,0,'0','0','0',ARGV[3]} list[#list+1]=x at[me]=x "
             "elseif not x or x[2]<=now or x[4]~=ARGV[4] then return {0} end "
             "x[2]=now+ARGV[5] x[3]=ARGV[2] x[4]=string.format('%.0f',ARGV[4]+1) x[5]=ARGV[7] "
             "local own=string.sub(me,1,12) "
             "local seq=tonumber(string.match(text,'^(%d+)\\n') or 0) "
             "if #ARGV>9 then seq=seq+1 end local s={string.format('%.0f\\n',seq)} "
             "for i,y in ipairs(list) do "
             "if y~=x and string.sub(y[1],1,12)==own then y[5]='0' "
             "if ARGV[8]=='1' then y[2]=0 end end "
             "s[i+1]=string.format('%s %.0f %s %s %s %s\\n',y[1],y[2],y[3],y[4],y[5],y[6]) end "
             "redis.call('hset',k,'',table.concat(s)) redis.call('pexpire',k,ARGV[6]) "
             "local changed={ARGV[2]..' '..string.format('%.0f',seq)..' '..ARGV[3]} "
             "for i=10,#ARGV,2 do local u,n=ARGV[i],ARGV[i+1] local o={} "
             "changed[#changed+1]=u "
             "local v=redis.call('hget',k,u) if v then " EACH_HOLDER
             "if p~=me and at[p] and at[p][2]>now then o[#o+1]=p..':'..c end end end "
             "if n~='0' then o[#o+1]=me..':'..n end "
             "if #o>0 then redis.call('hset',k,u,table.concat(o,',')) "
             "elseif v then redis.call('hdel',k,u) end end "
             "if #ARGV>9 then redis.call('publish',ARGV[9],table.concat(changed,'\\n')) end "
             "local r={1,redis.call('hlen',k)-1,seq} "
             "for _,y in ipairs(list) do local i=#r r[i+1]=y[1] r[i+2]=y[2]-now "
             "r[i+3]=tonumber(y[3]) r[i+4]=tonumber(y[5]) r[i+5]=y[6] end return r",

    [PRESENCE_SCRIPT_SWEEP] = "local k=KEYS[1] local ended={} "
                              "for p in string.gmatch(ARGV[3],'%x+') do ended[p]=true end "
                              "local r=redis.call('hscan',k,ARGV[1],'count',ARGV[2]) "
                              "for i=1,#r[2],2 do local u,v=r[2][i],r[2][i+1] if u~='' then "
                              "local o,cut={},false " EACH_HOLDER
                              "if ended[p] then cut=true else o[#o+1]=p..':'..c end end "
                              "if cut and #o>0 then redis.call('hset',k,u,table.concat(o,',')) "
                              "elseif cut then redis.call('hdel',k,u) end end end "
                              "local l=redis.call('hget',k,'') if r[1]=='0' and l then local s={} "
                              "for line in string.gmatch(l,'[^\\n]*\\n') do "
                              "if not ended[string.match(line,'^%x+')] then s[#s+1]=line end end "
                              "redis.call('hset',k,'',table.concat(s)) end return r[1]",

    [PRESENCE_SCRIPT_LOOK] = TIME
    "local live={} " EACH_PLACE "if tonumber(u)>now then live[p]=n end end "
    "local r={} for i=1,#ARGV do local v,o=redis.call('hget',k,ARGV[i]),{} "
    "if v then " EACH_HOLDER "if live[p] then o[#o+1]=live[p] o[#o+1]=tonumber(c) end end end "
    "r[i]=#o>0 and o or false end return r",
};
