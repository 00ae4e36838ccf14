# bench.mk - the load generators; bench/run starts brokers and measures.
#   make bench                 prints a table        make bench BENCH=--record  writes docs/BENCH.md
#   make bench BENCH='json'    only that question (json http burst idle restart)
BENCH ?=
$(BUILD)/bench/json_pub $(BUILD)/bench/http_post: %: %.o $(BUILD)/bench/load.o
	$(CC) $(LDFLAGS) -o $@ $^

bench: $(BUILD)/hearsay $(BUILD)/bench/json_pub $(BUILD)/bench/http_post
	bench/run --build $(BUILD) $(BENCH)
