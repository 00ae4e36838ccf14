# bench.mk - the load generators; bench/run starts brokers and measures.
#   make bench                 prints a table        make bench BENCH=--record  writes docs/BENCH.md
#   make bench BENCH='json'    only that question (json http burst idle restart history)
BENCH ?=
#   make soak SOAK="--seconds 60"   two brokers under steady load: nothing may grow (half an hour)
SOAK  ?=
$(BUILD)/bench/json_pub $(BUILD)/bench/http_post: %: %.o $(BUILD)/bench/load.o
	$(CC) $(LDFLAGS) -o $@ $^
$(BUILD)/bench/history: $(BUILD)/bench/history.o $(call lib_of,store core base)
	$(CC) $(LDFLAGS) -o $@ $^ $(LIBS)

bench: $(BUILD)/hearsay $(BUILD)/bench/json_pub $(BUILD)/bench/http_post $(BUILD)/bench/history
	bench/run --build $(BUILD) $(BENCH)

soak: $(BUILD)/hearsay
	bench/soak --build $(BUILD) $(SOAK)
.PHONY: soak
