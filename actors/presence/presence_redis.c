/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Redis is told the text of each script when the connection comes up, and then called by its
 * digest; until that is known the text goes along.
 */
#include "actors/presence/presence_redis.h"

#include "actors/shard.h"
#include "codec/base/mem.h"

enum { SHA_LEN = 40, HEAD = 4 /* arguments of EVAL before those of the script */ };

struct digest {
    bool known;
    char text[SHA_LEN];
};

struct presence_redis {
    struct shard *shard;
    struct bus_link *link;
    void (*up)(void *context);
    void *context;
    struct digest digests[PRESENCE_SCRIPT_COUNT];
};

static void on_loaded(void *context, int status, const struct bus_reply *reply)
{
    struct digest *digest = context;
    if (status == 0 && reply->type == BUS_STRING && reply->text.len == SHA_LEN) {
        memcpy(digest->text, reply->text.at, SHA_LEN);
        digest->known = true;
    }
}

static void load(struct presence_redis *redis)
{
    for (unsigned i = 0; i < PRESENCE_SCRIPT_COUNT; i++) {
        const struct bytes argv[] = {
            BYTES("SCRIPT"), BYTES("LOAD"), bytes_str(presence_scripts[i])};
        redis->digests[i].known = false;
        redis->shard->bus->ops->command(
            redis->link, argv, ARRAY_LEN(argv), 0, on_loaded, &redis->digests[i]);
    }
}

static void on_up(void *context)
{
    struct presence_redis *redis = context;
    load(redis);
    redis->up(redis->context);
}

static const struct bus_events events = {.on_up = on_up};

struct presence_redis *presence_redis_open(
    struct shard *shard, void (*up)(void *context), void *context)
{
    struct presence_redis *redis = mem_alloc(sizeof(*redis));
    redis->shard = shard;
    redis->up = up;
    redis->context = context;
    redis->link = shard->bus->ops->open(shard->bus, "presence", &events, redis);
    return redis;
}

void presence_redis_close(struct presence_redis *redis)
{
    if (redis != NULL) {
        redis->shard->bus->ops->close(redis->link);
        mem_free(redis);
    }
}

bool presence_redis_is_up(const struct presence_redis *redis)
{
    return redis->shard->bus->ops->is_up(redis->link);
}

bool presence_redis_run(struct presence_redis *redis, const struct presence_command *command,
    bus_reply_fn fn, void *context)
{
    const struct actor_config *config = redis->shard->config;
    const struct digest *digest = &redis->digests[command->script];
    size_t argc = command->argc + HEAD;
    struct builder key = {0};
    struct bytes *argv = mem_try_calloc(argc, sizeof(*argv));
    bus_name_presence(&config->names, command->part, bytes_str(config->epoch), &key);
    if (argv == NULL || builder_failed(&key)) {
        mem_free(argv);
        builder_reset(&key);
        return false;
    }
    argv[0] = digest->known ? BYTES("EVALSHA") : BYTES("EVAL");
    argv[1] = digest->known ? bytes_of(digest->text, SHA_LEN)
                            : bytes_str(presence_scripts[command->script]);
    argv[2] = BYTES("1");
    argv[3] = builder_bytes(&key);
    memcpy(argv + HEAD, command->argv, command->argc * sizeof(*argv));
    redis->shard->bus->ops->command(redis->link, argv, argc, 0, fn, context);
    mem_free(argv);
    builder_reset(&key);
    return true;
}

bool presence_redis_forgot(struct presence_redis *redis, const struct bus_reply *reply)
{
    if (reply->type != BUS_ERROR || !bytes_starts(reply->text, BYTES("NOSCRIPT"))) {
        return false;
    }
    load(redis);
    return true;
}
