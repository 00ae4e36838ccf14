/* peers_fuzz.c - any bytes as globalState.csv, and as the value of --join: places that are in
 * the text, each once, or one line that says what is wrong. */
#include "base/check.h"
#include "server/peers_file.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void
check_place(const struct peer_place *p, struct str in)
{
    CHECK(p->port > 0 && p->host.n > 0 && p->host.n <= HOST_BYTES_MAX);
    CHECK(p->host.p >= in.p && p->host.p + p->host.n <= in.p + in.n);
    for (size_t i = 0; i < p->host.n; i++)
        CHECK(p->host.p[i] > ' ' && p->host.p[i] != 0x7f && p->host.p[i] != ',');
}

static void
check_same_again(const struct peer_places *places)
{
    struct buf         out, problem;
    struct peer_places again;
    buf_init(&out, 0);
    buf_init(&problem, 0);
    for (uint32_t i = 0; i < places->count; i++)
        CHECK(buf_addf(&out, "%.*s,%u\r\n", STR_ARG(places->at[i].host), places->at[i].port) ==
              ERR_OK);
    CHECK(peers_parse(buf_str(&out), "f", &again, &problem) == ERR_OK);
    CHECK(again.count == places->count);
    for (uint32_t i = 0; i < places->count; i++)
        CHECK(str_eq(again.at[i].host, places->at[i].host) &&
              again.at[i].port == places->at[i].port);
    buf_fini(&out);
    buf_fini(&problem);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct str         in = {data, n};
    struct peer_places places;
    struct peer_place  place;
    struct buf         problem;
    const char        *why = NULL;
    buf_init(&problem, 0);
    enum err e = peers_parse(in, "file.csv", &places, &problem);
    CHECK(e == ERR_OK || e == ERR_INVALID);
    CHECK((e == ERR_OK) == (problem.n == 0));
    if (e == ERR_OK) {
        CHECK(places.count <= MEMBERS_MAX);
        for (uint32_t i = 0; i < places.count; i++) {
            check_place(&places.at[i], in);
            for (uint32_t k = 0; k < i; k++)
                CHECK(!str_eq(places.at[i].host, places.at[k].host) ||
                      places.at[i].port != places.at[k].port);
        }
        check_same_again(&places);
    } else {
        struct str said = buf_str(&problem);
        CHECK(said.n > 11 && str_eq(str_cut(said, 0, 9), STR("file.csv:")));
        for (size_t i = 0; i < said.n; i++)
            CHECK(said.p[i] >= ' ' && said.p[i] < 0x7f);
    }
    buf_fini(&problem);

    if (peer_place_parse(in, &place, &why) == ERR_OK)
        check_place(&place, in);
    else
        CHECK(why);
    return 0;
}
