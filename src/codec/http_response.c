#include "codec/http_response.h"

#include "codec/http_head.h"

static enum err
decode_head(struct str head, struct http_response *r, const char **why)
{
    struct http_run run;
    *why = "not an HTTP answer";
    if (!str_starts(head, STR("HTTP/1.")) || head.n < 12 || (head.p[7] != '0' && head.p[7] != '1'))
        return ERR_PROTO;
    if (http_head_run(head, HTTP_RESPONSE, &r->headers, &run) != ERR_OK || run.status < 100) {
        *why =
            run.many ? "the answer has more than 64 headers" : "the answer's headers are malformed";
        return ERR_PROTO;
    }
    bool foreign;
    http_transfer_encoding(&r->headers, &r->chunked, &foreign);
    r->status         = run.status;
    r->version_minor  = run.version_minor;
    r->keep_alive     = http_run_keep_alive(&run);
    r->has_length     = run.flags & F_CONTENT_LENGTH;
    r->content_length = r->has_length ? run.content_length : 0;
    r->upgrade        = STR("");
    if (foreign || (r->has_length && r->chunked)) {
        *why = "the answer's length cannot be known: two lengths or a Transfer-Encoding other "
               "than 'chunked'";
        return ERR_PROTO;
    }
    if (r->status == 101 && run.flags & F_CONNECTION_UPGRADE &&
        !http_header_find(&r->headers, STR("Upgrade"), &r->upgrade))
        r->upgrade = STR("");
    return ERR_OK;
}

enum err
http_response_decode(struct str in, size_t *seen, struct http_response *r, size_t *used,
                     const char **why)
{
    size_t   begin, end;
    enum err e = http_head_end(in, seen, &begin, &end, why);
    if (e == ERR_LIMIT) {
        *why = "the answer's head exceeds 16 KiB";
        return ERR_PROTO;
    }
    if (e == ERR_OK)
        e = decode_head(str_cut(in, begin, end), r, why);
    if (e == ERR_OK) {
        *seen = 0;
        *used = end;
    }
    return e;
}
