#include "base/blob.h"

#include "tests/unit.h"

#include <pthread.h>
#include <string.h>

/* Broken when the budget for bodies counts what is gone, or forgets what is there. */
static void
counts_what_is_in_use(void **state)
{
    (void)state;
    size_t   before = blob_bytes_used();
    uint8_t *a      = blob_new(1000);
    void    *none   = blob_new(0);
    assert_int_equal((uintptr_t)a % 16, 0);
    for (int i = 0; i < 1000; i++)
        assert_int_equal(a[i], 0);
    assert_int_equal(blob_bytes(a), 1000);
    assert_int_equal(blob_bytes_used(), before + 1000);
    blob_keep(a);
    blob_drop(a);
    memset(a, 'x', 1000); /* still ours */
    assert_int_equal(blob_bytes_used(), before + 1000);
    blob_drop(a);
    blob_drop(none);
    blob_drop(NULL);
    assert_int_equal(blob_bytes_used(), before);
}

static void *
keep_and_drop(void *blob)
{
    for (int i = 0; i < 100000; i++) {
        blob_keep(blob);
        blob_drop(blob);
    }
    blob_drop(blob);
    return NULL;
}

/* Broken when the loop and the store thread, dropping at the same time, free a blob
 * twice or never. */
static void
threads_may_share(void **state)
{
    (void)state;
    pthread_t thread[2];
    size_t    before = blob_bytes_used();
    void     *blob   = blob_new(64);
    for (int i = 0; i < 2; i++) {
        blob_keep(blob);
        assert_int_equal(pthread_create(&thread[i], NULL, keep_and_drop, blob), 0);
    }
    blob_drop(blob);
    for (int i = 0; i < 2; i++)
        assert_int_equal(pthread_join(thread[i], NULL), 0);
    assert_int_equal(blob_bytes_used(), before);
}

int
main(void)
{
    const struct CMUnitTest test[] = {
        cmocka_unit_test(counts_what_is_in_use),
        cmocka_unit_test(threads_may_share),
    };
    return cmocka_run_group_tests_name("blob", test, NULL, NULL);
}
