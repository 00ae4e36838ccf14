/* publish_lines.h - hearsay publish --lines: each line of standard input is a message. */
#ifndef CLI_PUBLISH_LINES_H
#define CLI_PUBLISH_LINES_H

#include "cli/cli.h"

#define PUBLISH_TWICE                                                                              \
    "stored, perhaps twice: a broker failed before it answered, so it was sent again"

/* `p` is complete but for the body.  The exit code. */
int publish_lines(struct hearsay *h, const struct options *o, struct hearsay_publish *p);

void publish_print_receipt(const struct options *o, const struct hearsay_receipt *r);

#endif
