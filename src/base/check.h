/* check.h - assertions that stay on in release builds.
 *
 * For our own bugs only: no byte from a client or a peer may ever reach one. */
#ifndef BASE_CHECK_H
#define BASE_CHECK_H

#define CHECK(cond) ((cond) ? (void)0 : check_failed(#cond, __FILE__, __LINE__))

_Noreturn void check_failed(const char *cond, const char *file, int line);

#endif
