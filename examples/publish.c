/* publish.c - publishes one message and says where it is on disk.
 *
 *     cc publish.c -o publish $(pkg-config --cflags --libs hearsay)
 *     ./publish localhost:3000,localhost:3001 stocks "Stock update"
 */
#include <hearsay.h>

#include <stdio.h>
#include <string.h>

int
main(int argc, char **argv)
{
    struct hearsay        *h;
    struct hearsay_publish p;
    struct hearsay_receipt r;
    enum hearsay_status    status;

    if (argc != 4) {
        fprintf(stderr, "usage: publish BROKERS TOPIC TEXT\n");
        return 2;
    }
    h = hearsay_open(argv[1]);
    if (!h) {
        fprintf(stderr, "publish: '%s' is no list of brokers; it is like host:3000,host:3001\n",
                argv[1]);
        return 2;
    }
    hearsay_set_patience(h, 10000); /* a broker that is started again is worth ten seconds */

    memset(&p, 0, sizeof p); /* what is not set is left out */
    p.topic      = argv[2];
    p.body       = argv[3];
    p.body_bytes = strlen(argv[3]);
    p.type       = "text/plain";

    status = hearsay_publish(h, &p, &r);
    if (status == HEARSAY_OK)
        printf("%s at %s, on %d disk%s\n", r.id, r.origin, r.copies, r.copies == 1 ? "" : "s");
    else /* the text says what to do */
        fprintf(stderr, "publish: %s\n", hearsay_text(h));
    hearsay_close(h);
    return status == HEARSAY_OK ? 0 : 1;
}
