#include "core/broker_part.h"
#include "core/place.h"

#include "base/check.h"

bool
broker_ready(struct broker *b, uint64_t *session, uint64_t *ref)
{
    struct session *s = sessions_next_ready(&b->sessions);
    if (!s)
        return false;
    *session = pool_handle(s);
    *ref     = s->ref;
    return true;
}

enum err
broker_pull(struct broker *b, uint64_t session, struct entry *entry)
{
    struct session *s = sessions_find(&b->sessions, session);
    CHECK(s);
    return session_pull(&b->sessions, s, &b->journal, entry);
}

void
broker_stall(struct broker *b, uint64_t session)
{
    session_stall(&b->sessions, sessions_find(&b->sessions, session));
}

bool
broker_cursor(struct broker *b, uint64_t session, struct vector *cursor, uint64_t *stamp)
{
    struct session *s = sessions_find(&b->sessions, session);
    CHECK(s);
    return session_cursor(s, &b->journal, cursor, stamp);
}

bool
broker_place(const struct broker *b, uint64_t session, struct place *p)
{
    const struct session *s = sessions_find(&b->sessions, session);
    CHECK(s);
    return place_take(p, &b->sessions, s, &b->journal);
}

bool
broker_is_at(const struct broker *b, uint64_t session, const struct place *p)
{
    const struct session *s = sessions_find(&b->sessions, session);
    CHECK(s);
    return place_is(p, &b->sessions, s);
}

void
broker_move(struct broker *b, uint64_t session, const struct place *to, uint32_t deliveries)
{
    place_move(&b->sessions, sessions_find(&b->sessions, session), to, deliveries);
}

uint32_t
broker_sessions(const struct broker *b)
{
    return b->sessions.pool.used;
}
