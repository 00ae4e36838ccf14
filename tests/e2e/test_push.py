"""A peer that cannot keep up is caught up, and then pushed to again."""

def test_pushes_go_on_after_a_full_queue(cluster):
    # Broken if a peer whose queue was full once has to pull everything from then on.
    a, b = cluster.make(2)
    cluster.wait_linked()
    a.publish("t", "x")  # the stream is known
    cluster.wait_equal()
    b.pause()
    big = "y" * 1000000
    for _ in range(24):  # three times what waits for one peer
        a.publish("t", big)
    b.resume()
    cluster.wait_equal(timeout=30)
    # What is pushed is not pulled; right after the flood a pull may still be under way.
    pushed = 0
    for i in range(20):
        before = b.metric("pulls_total")
        a.publish("t", str(i))
        cluster.wait_equal()
        pushed = pushed + 1 if b.metric("pulls_total") == before else 0
    assert pushed >= 5
