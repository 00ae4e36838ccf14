#include "codec/http.h"

#include "codec/http_head.h"

static const uint8_t method_of[HTTP_FLUSH + 1] = {
    [HTTP_GET] = METHOD_GET, [HTTP_HEAD] = METHOD_HEAD,     [HTTP_POST] = METHOD_POST,
    [HTTP_PUT] = METHOD_PUT, [HTTP_DELETE] = METHOD_DELETE, [HTTP_OPTIONS] = METHOD_OPTIONS,
};

static enum err
refuse(struct http_problem *problem, uint16_t status, const char *code, const char *detail)
{
    *problem = (struct http_problem){status, code, detail};
    return ERR_PROTO;
}

static enum err
refuse_400(struct http_problem *problem, const char *detail)
{
    return refuse(problem, 400, "bad_request", detail);
}

/* ---- the request line ---- */

static bool
is_digit(uint8_t c)
{
    return c >= '0' && c <= '9';
}

static enum err
check_version(struct str version, struct http_problem *problem)
{
    if (version.n != 8 || !str_starts(version, STR("HTTP/")) || !is_digit(version.p[5]) ||
        version.p[6] != '.' || !is_digit(version.p[7]))
        return refuse_400(problem, "the request line is not 'METHOD /target HTTP/1.1'");
    if (version.p[5] != '1' || version.p[7] > '1')
        return refuse(problem, 505, "version_unsupported", "speak HTTP/1.1 or HTTP/1.0");
    return ERR_OK;
}

static enum err
check_target(struct str target, struct http_problem *problem)
{
    for (size_t i = 0; i < target.n; i++) {
        if (target.p[i] <= 0x20 || target.p[i] >= 0x7f)
            return refuse_400(problem, "the target holds a blank, a control character or a byte "
                                       "beyond ASCII; percent-encode it");
        if (target.p[i] == '#')
            return refuse_400(problem, "the target holds a '#'; write %23");
    }
    return ERR_OK;
}

/* Nothing that would make it more than a name and a port. */
static bool
host_is_sound(struct str host)
{
    for (size_t i = 0; i < host.n; i++) {
        uint8_t c = host.p[i];
        if (c <= 0x20 || c >= 0x7f || c == '/' || c == ',' || c == '@')
            return false;
    }
    return true;
}

/* Path and query out of "/path?query", "http://host/path?query" (RFC 9112 3.2.2) or "*". */
static enum err
split_target(struct http_request *r, struct http_problem *problem)
{
    struct str rest = r->target;
    if (rest.n > 7 && str_eq_nocase(str_cut(rest, 0, 7), STR("http://"))) {
        rest       = str_cut(rest, 7, rest.n);
        size_t end = 0;
        while (end < rest.n && rest.p[end] != '/' && rest.p[end] != '?')
            end++;
        r->host = str_cut(rest, 0, end);
        rest    = str_cut(rest, end, rest.n);
        if (r->host.n == 0 || !host_is_sound(r->host))
            return refuse_400(problem, "the target names no good host; write '/path' or "
                                       "'http://host/path'");
    } else if (rest.p[0] != '/' && !str_eq(rest, STR("*"))) {
        return refuse_400(problem, "the target must begin with '/'");
    }
    size_t mark = str_index(rest, '?');
    r->path     = mark > 0 ? str_cut(rest, 0, mark) : STR("/");
    r->query    = str_cut(rest, mark + 1, rest.n);
    return ERR_OK;
}

/* Exactly "METHOD SP target SP HTTP/x.y": llhttp forgives more. */
static enum err
take_request_line(struct str head, struct http_request *r, struct http_problem *problem)
{
    struct str line = str_cut(head, 0, str_index(head, '\r'));
    size_t     gap  = str_index(line, ' ');
    r->method_text  = str_cut(line, 0, gap);
    struct str rest = str_cut(line, gap + 1, line.n);
    size_t     stop = str_index(rest, ' ');
    r->target       = str_cut(rest, 0, stop);
    if (!http_is_token(r->method_text) || r->target.n == 0)
        return refuse_400(problem, "the request line is not 'METHOD /target HTTP/1.1'");
    enum err e = check_version(str_cut(rest, stop + 1, rest.n), problem);
    if (e == ERR_OK)
        e = check_target(r->target, problem);
    return e;
}

/* ---- headers ---- */

static enum err
refuse_run(const struct http_run *run, struct http_problem *problem)
{
    if (run->many)
        return refuse(problem, 431, "head_too_large", "send at most 64 headers");
    if (run->error == HPE_INVALID_METHOD)
        return refuse(problem, 501, "method_unknown", "no such method; use GET, POST or DELETE");
    if (run->error == HPE_UNEXPECTED_CONTENT_LENGTH)
        return refuse_400(problem, "the length is given twice: send one Content-Length or "
                                   "'Transfer-Encoding: chunked', not both");
    if (run->error == HPE_INVALID_CONTENT_LENGTH)
        return refuse_400(problem, "Content-Length must be one whole number");
    if (run->error == HPE_INVALID_TRANSFER_ENCODING)
        return refuse_400(problem, "Transfer-Encoding must be 'chunked', once");
    return refuse_400(problem,
                      "a header line is not 'Name: value': no blank may stand in or behind "
                      "the name, no control character in the value");
}

static enum err
take_host(struct http_request *r, struct str value, bool *came, struct http_problem *problem)
{
    if (*came)
        return refuse_400(problem, "Host came twice; send it once");
    *came = true;
    if (r->host.n == 0) /* an absolute target names the host, and wins (RFC 9112 3.2.2) */
        r->host = value;
    return host_is_sound(value) ? ERR_OK
                                : refuse_400(problem, "Host must be 'name' or 'name:port'");
}

static enum err
take_headers(struct http_request *r, bool may_upgrade, struct http_problem *problem)
{
    bool     came = false;
    enum err e    = ERR_OK;
    for (uint32_t i = 0; i < r->headers.count && e == ERR_OK; i++) {
        struct http_header h = r->headers.at[i];
        if (h.name.n == 4 && str_eq_nocase(h.name, STR("Host"))) {
            e = take_host(r, h.value, &came, problem);
        } else if (h.name.n == 6 && str_eq_nocase(h.name, STR("Expect"))) {
            if (!str_eq_nocase(h.value, STR("100-continue")))
                return refuse(problem, 417, "expectation_failed",
                              "the only expectation that is met is '100-continue'");
            r->expect_continue = r->version_minor >= 1;
        } else if (may_upgrade && h.name.n == 7 && str_eq_nocase(h.name, STR("Upgrade"))) {
            r->upgrade = h.value;
        }
    }
    if (e == ERR_OK && r->host.n == 0 && (came || r->version_minor >= 1))
        return refuse_400(problem, "Host is missing or empty; HTTP/1.1 requires it");
    return e;
}

static enum err
take_lengths(struct http_request *r, const struct http_run *run, struct http_problem *problem)
{
    bool foreign;
    http_transfer_encoding(&r->headers, &r->chunked, &foreign);
    r->has_length     = run->flags & F_CONTENT_LENGTH;
    r->content_length = r->has_length ? run->content_length : 0;
    if (r->has_length && (r->chunked || foreign))
        return refuse_400(problem, "the length is given twice: send one Content-Length or "
                                   "'Transfer-Encoding: chunked', not both");
    if (foreign)
        return refuse(problem, 501, "transfer_encoding_unknown",
                      "the only Transfer-Encoding known here is 'chunked'");
    if (r->chunked && r->version_minor == 0)
        return refuse_400(problem, "HTTP/1.0 has no chunks; send a Content-Length");
    if ((r->method == METHOD_POST || r->method == METHOD_PUT) && !r->has_length && !r->chunked)
        return refuse(problem, 411, "length_required",
                      "send a Content-Length or 'Transfer-Encoding: chunked'");
    return ERR_OK;
}

static enum err
decode_head(struct str head, struct http_request *r, struct http_problem *problem)
{
    enum err e = take_request_line(head, r, problem);
    if (e != ERR_OK)
        return e;
    struct http_run run;
    if (http_head_run(head, HTTP_REQUEST, &r->headers, &run) != ERR_OK)
        return refuse_run(&run, problem);
    r->method        = method_of[run.method <= HTTP_FLUSH ? run.method : HTTP_FLUSH];
    r->version_minor = run.version_minor;
    r->keep_alive    = http_run_keep_alive(&run);
    bool may_upgrade =
        run.flags & F_UPGRADE && run.flags & F_CONNECTION_UPGRADE && run.version_minor >= 1;
    e = split_target(r, problem);
    if (e == ERR_OK)
        e = take_headers(r, may_upgrade, problem);
    return e == ERR_OK ? take_lengths(r, &run, problem) : e;
}

enum err
http_request_decode(struct str in, size_t *seen, struct http_request *r, size_t *used,
                    struct http_problem *problem)
{
    size_t      begin, end;
    const char *why;
    enum err    e = http_head_end(in, seen, &begin, &end, &why);
    if (e == ERR_PROTO)
        return refuse_400(problem, why);
    if (e == ERR_LIMIT)
        return refuse(problem, 431, "head_too_large",
                      "request line and headers may take 16 KiB together; what is too long for "
                      "them, a cursor, goes into the body of a GET as cursor=... of type "
                      "application/x-www-form-urlencoded, or into JSON");
    if (e != ERR_OK)
        return e;

    /* The header table is not cleared: two KiB for each request. */
    r->host = r->upgrade = STR("");
    r->expect_continue   = false;
    e                    = decode_head(str_cut(in, begin, end), r, problem);
    if (e == ERR_OK) {
        *seen = 0;
        *used = end;
    }
    return e;
}
