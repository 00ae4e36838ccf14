/* config_topics.h - the sections of the configuration file that say something of topics:
 *
 *     [topic "ticks/#"]
 *     store = no
 *
 * In the quotes \" and \\ stand for " and \.  The parser of the file takes names of sections up
 * to 50 bytes, so what is quoted is read before it sees the file. */
#ifndef SERVER_CONFIG_TOPICS_H
#define SERVER_CONFIG_TOPICS_H

#include "base/buf.h"
#include "core/types.h"

struct config_topics {
    struct topic_rule *rule; /* one for each section */
    bool              *said; /* something, of each */
    uint32_t           count;
    uint8_t           *text; /* the filters */
};

/* Reads the heads of these sections off the text, which ends with a zero byte, and puts short
 * ones in their place.  0, or the line of a head that is wrong, and why. */
uint32_t config_topics_heads(struct config_topics *t, struct buf *text, const char **why);
/* Is this the name of such a section, as it was put there?  Then its number. */
bool config_topics_is(const struct config_topics *t, const char *section, uint32_t *number);
/* NULL, or what is wrong with a line of section `number`. */
const char *config_topics_line(struct config_topics *t, uint32_t number, const char *name,
                               const char *value);
/* Sections that say nothing are no rules. */
void config_topics_settle(struct config_topics *t);
void config_topics_free(struct config_topics *t);

#endif
