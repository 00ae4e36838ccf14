/* table.h - the JSON of a broker as aligned columns. */
#ifndef CLI_TABLE_H
#define CLI_TABLE_H

#include "cli/view.h"

struct table_column {
    const char *key;
    const char *title;
    bool        right;  /* numbers stand at the right */
    bool        others; /* says nothing in a row whose member "self" is true: "-" */
};

/* Print an array of objects to standard output; members that are missing show as "-". */
void table_print(struct str items, const struct table_column *column, unsigned count);

#endif
