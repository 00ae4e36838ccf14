#include "cli/table.h"

#include "base/utf8.h"

#include <stdio.h>

/* Terminal columns, near enough: one a code point. */
static size_t
width(struct str s)
{
    size_t   columns = 0;
    uint32_t code_point;
    while (s.n > 0) {
        size_t n = utf8_decode(s, &code_point);
        s        = str_cut(s, n > 0 ? n : 1, s.n);
        columns++;
    }
    return columns;
}

static void
pad(size_t columns)
{
    while (columns-- > 0)
        putchar(' ');
}

/* The last column is not padded: no line ends with blanks. */
static void
print_cell(struct str text, size_t columns, bool right, bool last)
{
    size_t fill = columns > width(text) ? columns - width(text) : 0;
    if (right)
        pad(fill);
    printf("%.*s", STR_ARG(text));
    if (!right && !last)
        pad(fill);
    if (!last)
        printf("  ");
}

static void
show_cell(const struct view *row, const struct table_column *column, struct buf *cell)
{
    bool self = false;
    bool none =
        column->others && view_get(row, "self") && json_bool(view_get(row, "self"), &self) && self;
    buf_reset(cell);
    view_show(none ? NULL : view_get(row, column->key), cell);
}

enum { COLUMNS_MAX = 12 };

static void
measure(struct str items, const struct table_column *column, unsigned count, size_t *widest)
{
    struct json_value item;
    struct view       row;
    struct buf        cell;

    buf_init(&cell, 0);
    for (unsigned i = 0; i < count; i++)
        widest[i] = width(str_of(column[i].title));
    while (view_next(&items, &item)) {
        if (!view_open(&row, item.raw))
            continue;
        for (unsigned i = 0; i < count; i++) {
            show_cell(&row, &column[i], &cell);
            size_t is = width(buf_str(&cell));
            widest[i] = is > widest[i] ? is : widest[i];
        }
    }
    buf_fini(&cell);
}

void
table_print(struct str items, const struct table_column *column, unsigned count)
{
    size_t            widest[COLUMNS_MAX] = {0};
    struct json_value item;
    struct view       row;
    struct buf        cell;

    CHECK(count <= COLUMNS_MAX);
    measure(items, column, count, widest);
    for (unsigned i = 0; i < count; i++)
        print_cell(str_of(column[i].title), widest[i], column[i].right, i + 1 == count);
    putchar('\n');
    buf_init(&cell, 0);
    while (view_next(&items, &item)) {
        if (!view_open(&row, item.raw))
            continue;
        for (unsigned i = 0; i < count; i++) {
            show_cell(&row, &column[i], &cell);
            print_cell(buf_str(&cell), widest[i], column[i].right, i + 1 == count);
        }
        putchar('\n');
    }
    buf_fini(&cell);
}
