#include "bench/drivers.h"

const struct driver publish_drivers[] = {
    {"http", post_hello, NULL, NULL, post_message, NULL, true, post_take},
    {"ndjson", lines_up_hello, NULL, NULL, lines_up_message, NULL, true, lines_up_take},
    {"json", json_hello, NULL, NULL, json_message, NULL, true, json_take},
    {"nchan", post_hello, NULL, NULL, nchan_message, NULL, true, post_take},
    {"nats", nats_hello, nats_ready, NULL, nats_message, NULL, false, nats_take},
    {"jetstream", jetstream_hello, jetstream_ready, NULL, jetstream_message, NULL, true, nats_take},
    {"redis", redis_hello, redis_ready, NULL, redis_message, NULL, true, redis_take},
    {"redis-stream", redis_hello, redis_ready, NULL, xadd_message, NULL, true, redis_take},
    {"mqtt0", mqtt0_hello, mqtt0_ready, NULL, mqtt0_message, NULL, false, mqtt0_take},
    {"mqtt1", mqtt0_hello, mqtt0_ready, NULL, mqtt1_message, mqtt1_number, true, mqtt0_take},
    {NULL},
};

const struct driver subscribe_drivers[] = {
    {"ndjson", lines_down_hello, sse_ready, NULL, NULL, NULL, false, sse_take},
    {"sse", sse_hello, sse_ready, NULL, NULL, NULL, false, sse_take},
    {"poll", poll_hello, poll_ready, poll_begin, NULL, NULL, false, poll_take},
    {"json", json_sub_hello, json_sub_ready, NULL, NULL, NULL, false, json_take},
    {"nchan", nchan_sse_hello, sse_ready, NULL, NULL, NULL, false, sse_take},
    {"nats", nats_sub_hello, nats_ready, NULL, NULL, NULL, false, nats_take},
    {"redis", redis_sub_hello, redis_sub_ready, NULL, NULL, NULL, false, redis_sub_take},
    {"redis-stream", redis_hello, redis_ready, xread_begin, NULL, NULL, false, xread_take},
    {"mqtt0", mqtt0_sub_hello, mqtt0_sub_ready, NULL, NULL, NULL, false, mqtt0_take},
    {"mqtt1", mqtt1_sub_hello, mqtt0_sub_ready, NULL, NULL, NULL, false, mqtt0_take},
    {NULL},
};
