#include "server/origin.h"

#include "tests/unit.h"

#include <string.h>

/* Broken when a broker starts with a page that no browser will ever name so, and its operator
 * is left to guess why it is refused; or when a page that browsers do name so is refused. */
static void
only_what_browsers_send(void **state)
{
    (void)state;
    static const struct {
        const char *list, *says; /* NULL: fine */
    } row[] = {
        {"", NULL},
        {"https://x.org", NULL},
        {"https://x.org , http://a-b.c_d.example:8080,", NULL},
        {"http://localhost:3000", NULL},
        {"http://[::1]:5173,http://[2001:db8::1.2.3.4]", NULL},
        {"http://127.0.0.1,https://x.org:80,http://x.org:443", NULL},
        {"chrome-extension://abcdefghij", NULL},
        {"*", "name each page's origin"},
        {"https://x.org,*", "name each page's origin"},
        {"null", "an origin is like"},
        {"x.org", "an origin is like"},
        {"https", "an origin is like"},
        {"https:x.org", "an origin is like"},
        {"://x.org", "an origin is like"},
        {"4ttp://x.org", "an origin is like"},
        {"http s://x.org", "an origin is like"},
        {"https://", "the host"},
        {"https://:80", "the host"},
        {"https://*.x.org", "the host"},
        {"https://x org", "the host"},
        {"https://me@x.org", "the host"},
        {"https://x.org?a", "the host"},
        {"https://b\xc3\xbc"
         "cher.example",
         "xn--"},
        {"https://[x]", "the host"},
        {"https://[]", "the host"},
        {"https://[::1", "the host"},
        {"https://[::1]80", "an origin is like"},
        {"https://x.org/", "no path"},
        {"https://x.org/app", "no path"},
        {"https://x.org:", "the port"},
        {"https://x.org:0", "the port"},
        {"https://x.org:65536", "the port"},
        {"https://x.org:x", "the port"},
        {"https://x.org:1:2", "the port"},
        {"https://x.org:443", "leave out"},
        {"http://x.org:80", "leave out"},
        {"https://X.org", "lower case"},
        {"HTTPS://x.org", "lower case"},
    };
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        const char *problem = origins_problem(str_of(row[i].list));
        if (!problem != !row[i].says || (problem && !strstr(problem, row[i].says)))
            fail_msg("'%s': %s", row[i].list, problem ? problem : "nothing wrong");
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(only_what_browsers_send)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
