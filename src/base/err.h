/* err.h - every way an operation may fail, in one table.
 *
 * These are operating errors: the peer lied, the disk is full, a limit was
 * reached.  A broken invariant is not an error; it is CHECK() and abort.
 * Each value is something that a caller acts on differently. */
#ifndef BASE_ERR_H
#define BASE_ERR_H

#define ERR_TABLE(X)                                                                               \
    X(OK, "ok")                                                                                    \
    X(MORE, "need more input") /* not a failure: call again with more */                           \
    X(PROTO, "the other side broke the protocol")                                                  \
    X(INVALID, "not a valid value")                                                                \
    X(LIMIT, "a configured limit was reached")                                                     \
    X(STALE, "superseded by a newer one")                                                          \
    X(NOTFOUND, "no such thing")                                                                   \
    X(BUSY, "someone else holds it")                                                               \
    X(FULL, "the disk takes no more")                                                              \
    X(UNKNOWN, "outcome unknown") /* it may or may not have been stored */                         \
    X(TIMEOUT, "no answer in time")                                                                \
    X(REFUSED, "refused by the other side")                                                        \
    X(IO, "input/output error") /* errno says which */                                             \
    X(CORRUPT, "stored data fails its checksum")

enum err {
#define X(name, text) ERR_##name,
    ERR_TABLE(X)
#undef X
        ERR_COUNT
};

#define MUST_USE __attribute__((warn_unused_result))

const char *err_text(enum err e);

#endif
