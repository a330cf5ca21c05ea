/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A command reads and writes what its own place needs, never all places: their number would count
 * twice, once for who asks and once for what is answered. Who finds the sums old looks through all
 * of them, for everybody.
 *
 * The place is written first: where Redis is out of memory that is refused, and nothing has been
 * done.
 */
#include "actors/presence/presence_scripts.h"

#define TIME "local t=redis.call('time') local now=t[1]*1000+math.floor(t[2]/1000) local k=KEYS[1] "

/*
 * places(f): those in the field of a shard, as a list and by name, each as its line has it;
 * line(y): that of one; field(p): of its shard.
 */
#define PLACES                                                                                     \
    "local function places(f) local list,at={},{} "                                                \
    "for p,u,v,b,c,n in string.gmatch(redis.call('hget',k,f) or '',"                               \
    "'(%x+) (%d+) (%d+) (%d+) (%d+) ([^\\n]*)\\n') do "                                            \
    "local y={p,tonumber(u),v,b,c,n} list[#list+1]=y at[p]=y end return list,at end "              \
    "local function line(y) return "                                                               \
    "string.format('%s %.0f %s %s %s %s\\n',y[1],y[2],y[3],y[4],y[5],y[6]) end "                   \
    "local function field(p) return '\\n'..string.sub(p,1,12) end "

/* live(p): the place, where it counts; each shard is read once. */
#define LIVE                                                                                       \
    "local known={} local function live(p) local f=field(p) "                                      \
    "if not known[f] then local _,at=places(f) known[f]=at end "                                   \
    "local y=known[f][p] return y and y[2]>now and y end "

/* For each place of a user's value `v`. */
#define EACH_HOLDER "for p,c in string.gmatch(v,'(%x+):(%d+%a?)') do "

#define EACH_SHARD                                                                                 \
    "for s in string.gmatch(redis.call('hget',k,'\\n') or '',string.rep('%x',12)) do "

/* The place as it is to be, written; or the end. */
#define RENEW                                                                                      \
    "local me=ARGV[1] local own=field(me) local list,at=places(own) local x=at[me] "               \
    "if ARGV[4]=='0' then if x then return {0} end if #list>=64 then return {2} end "              \
    "x={me,0,'0','0','0',ARGV[3]} list[#list+1]=x at[me]=x "                                       \
    "elseif not x or x[2]<=now or x[4]~=ARGV[4] then return {0} end "                              \
    "x[2]=now+ARGV[5] x[3]=ARGV[2] x[4]=string.format('%.0f',ARGV[4]+1) x[5]=ARGV[7] "             \
    "local s={} for i,y in ipairs(list) do "                                                       \
    "if y~=x then y[5]='0' if ARGV[8]=='1' then y[2]=0 end end s[i]=line(y) end "                  \
    "redis.call('hset',k,own,table.concat(s)) if #list==1 and ARGV[4]=='0' then "                  \
    "redis.call('hset',k,'\\n',(redis.call('hget',k,'\\n') or '')..string.sub(me,1,12)) end "      \
    "redis.call('pexpire',k,ARGV[6]) known[own]=at "

/* The users of the arguments. */
#define TELL_USERS                                                                                 \
    "local changed={} for i=11,#ARGV,2 do local u,n=ARGV[i],ARGV[i+1] local o={} "                 \
    "changed[#changed+1]=u "                                                                       \
    "local v=redis.call('hget',k,u) if v then " EACH_HOLDER                                        \
    "if p~=me and live(p) then o[#o+1]=p..':'..c end end end "                                     \
    "if n~='0' then o[#o+1]=me..':'..n end "                                                       \
    "if #o>0 then redis.call('hset',k,u,table.concat(o,',')) "                                     \
    "elseif v then redis.call('hdel',k,u) end end "

/* The sums: of all places where they are old. `names` are ended ones, to be swept. */
#define SUM                                                                                        \
    "local head=redis.call('hget',k,'') local seq,due,claim,users,ended,check,rows="               \
    "string.match(head or '','^(%d+) (%d+) (%d+) (%d+) (%d+) (%d+)(.*)$') local names='' "         \
    "seq,due,claim=tonumber(seq or 0),tonumber(due or 0),tonumber(claim or 0) "                    \
    "if #changed>0 then seq=seq+1 end "                                                            \
    "if now>=due or due>now+ARGV[10] then due=now+ARGV[10] check=0 "                               \
    "local shards,by,order,gone,nodes=0,{},{},{},{} " EACH_SHARD "shards=shards+1 "                \
    "for _,y in ipairs((places('\\n'..s))) do if y[2]>now then local r=by[y[3]] "                  \
    "if not r and #order<8 then r={0,0} by[y[3]]=r order[#order+1]=y[3] end "                      \
    "if r then r[2]=r[2]+y[5] if not nodes[y[6]] then nodes[y[6]]=true r[1]=r[1]+1 end end "       \
    "check=(check+(tonumber(string.sub(y[1],1,12),16) or 0)"                                       \
    "+65537*(tonumber(string.sub(y[1],13),16) or 0))%2^52 else gone[#gone+1]=y[1] end end end "    \
    "users=redis.call('hlen',k)-shards-(head and 2 or 1) ended=#gone rows='' "                     \
    "for _,v in ipairs(order) do "                                                                 \
    "rows=rows..string.format(' %s:%.0f:%.0f',v,by[v][1],by[v][2]) end "                           \
    "if ended>0 and x[2]>now and (now>=claim or claim>now+3000) then claim=now+3000 "              \
    "names=table.concat(gone,',',1,math.min(ended,256))..',' end end "                             \
    "redis.call('hset',k,'',string.format('%.0f %.0f %.0f %.0f %.0f %.0f%s',"                      \
    "seq,due,claim,users,ended,check,rows)) "

/* Some of the users: those that only `ended` places hold go. `fields` are those of their shards. */
#define SWEEP_USERS                                                                                \
    "local ended,fields={},{} "                                                                    \
    "for p in string.gmatch(ARGV[3],'%x+') do ended[p]=true fields[field(p)]=true end "            \
    "local r=redis.call('hscan',k,ARGV[1],'count',ARGV[2]) "                                       \
    "for i=1,#r[2],2 do local u,v=r[2][i],r[2][i+1] if u~='' and string.byte(u)~=10 then "         \
    "local o,cut={},false " EACH_HOLDER                                                            \
    "if ended[p] then cut=true else o[#o+1]=p..':'..c end end "                                    \
    "if cut and #o>0 then redis.call('hset',k,u,table.concat(o,',')) "                             \
    "elseif cut then redis.call('hdel',k,u) end end end "

/* The places themselves, shards that have none left, and the sums, which are old now. */
#define SWEEP_PLACES                                                                               \
    "for f in pairs(fields) do local s={} for _,y in ipairs((places(f))) do "                      \
    "if not ended[y[1]] then s[#s+1]=line(y) end end "                                             \
    "if #s>0 then redis.call('hset',k,f,table.concat(s)) "                                         \
    "else redis.call('hdel',k,f) fields[f]=0 end end "                                             \
    "local left={} " EACH_SHARD "if fields['\\n'..s]~=0 then left[#left+1]=s end end "             \
    "if redis.call('hexists',k,'\\n')==1 then "                                                    \
    "redis.call('hset',k,'\\n',table.concat(left)) end "                                           \
    "local head=redis.call('hget',k,'') if head then "                                             \
    "redis.call('hset',k,'',(string.gsub(head,'^(%d+) %d+ %d+','%1 0 0'))) end "

#define LOOK_AT_USERS                                                                              \
    "local r={} for i=1,#ARGV do local v,o=redis.call('hget',k,ARGV[i]),{} "                       \
    "if v then " EACH_HOLDER "local y=live(p) "                                                    \
    "if y then o[#o+1]=y[6] o[#o+1]=tonumber((string.match(c,'%d+'))) "                            \
    "o[#o+1]=({[104]=2,[117]=0})[string.byte(c,-1)] or 1 end end end r[i]=#o>0 and o or false "    \
    "end "

const char *const presence_scripts[PRESENCE_SCRIPT_COUNT] = {
    [PRESENCE_SCRIPT_TELL] = TIME PLACES LIVE RENEW TELL_USERS SUM
    "if #changed>0 then table.insert(changed,1,"
    "ARGV[2]..' '..string.format('%.0f',seq)..' '..ARGV[3]) "
    "redis.call('publish',ARGV[9],table.concat(changed,'\\n')) end "
    "local r={1,tonumber(users),seq,tonumber(ended),tonumber(check),names} "
    "for v,n,c in string.gmatch(rows,'(%d+):(%d+):(%d+)') do local i=#r "
    "r[i+1]=tonumber(v) r[i+2]=tonumber(n) r[i+3]=tonumber(c) end return r",

    [PRESENCE_SCRIPT_SWEEP] =
        "local k=KEYS[1] " PLACES SWEEP_USERS "if r[1]=='0' then " SWEEP_PLACES "end return r[1]",

    [PRESENCE_SCRIPT_LOOK] = TIME PLACES LIVE LOOK_AT_USERS "return r",
};
