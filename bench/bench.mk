# bench.mk - the load generators; bench/run starts brokers and measures.
#   make bench                 prints a table        make bench BENCH=--record  writes docs/BENCH.md
#   make bench BENCH='json'    only that question; bench/run lists them
BENCH ?=
#   make soak-load SOAK="--seconds 60"   two brokers under steady load: nothing may grow (half an hour)
#   make soak T=30m PARTS="seeds chaos"  that, the simulator, the fuzzers, chaos and crashes (tools/soak)
SOAK  ?=
PARTS ?=
# The T of make fuzz has a default of its own.
SOAK_T = $(if $(filter command environment,$(firstword $(origin T))),$(T),30m)
$(addprefix $(BUILD)/bench/,lagging sink): %: %.o $(BUILD)/libload.a
	$(CC) $(LDFLAGS) -o $@ $^
DRIVERS = $(patsubst %.c,$(BUILD)/%.o,$(wildcard bench/driver*.c)) $(BUILD)/libload.a
$(BUILD)/bench/generator: $(BUILD)/bench/generator.o $(DRIVERS)
	$(CC) $(LDFLAGS) -o $@ $^ -lm
# Run by make test, with the others.
$(BUILD)/bench/generator_test: $(BUILD)/bench/generator_test.o $(DRIVERS)
	$(CC) $(LDFLAGS) -o $@ $^ -lm -lcmocka
TESTS += $(BUILD)/bench/generator_test
test: $(BUILD)/bench/generator_test
$(BUILD)/bench/append: $(BUILD)/bench/append.o $(BUILD)/libload.a
	$(CC) $(LDFLAGS) -o $@ $^ -lm
$(BUILD)/bench/match: $(BUILD)/bench/match.o $(BUILD)/libload.a $(call lib_of,core base)
	$(CC) $(LDFLAGS) -o $@ $^ $(LIBS)
$(BUILD)/bench/history: $(BUILD)/bench/history.o $(call lib_of,store core base)
	$(CC) $(LDFLAGS) -o $@ $^ $(LIBS)

$(BUILD)/bench/retain: $(BUILD)/bench/retain.o $(call lib_of,store core base)
	$(CC) $(LDFLAGS) -o $@ $^ $(LIBS)

bench: $(BUILD)/hearsay $(patsubst %,$(BUILD)/bench/%,generator history lagging retain)
	bench/run --build $(BUILD) $(BENCH)

#   make bench-peers           beside other brokers; ROUNDS and SECONDS from the environment
bench-peers: $(BUILD)/hearsay $(patsubst %,$(BUILD)/bench/%,generator append sink history match)
	bench/peers --build $(BUILD) $(BENCH)

soak-load: $(BUILD)/hearsay
	bench/soak --build $(BUILD) $(SOAK)
soak:
	tools/soak --build $(BUILD) --time $(SOAK_T) $(PARTS)
.PHONY: soak bench-peers soak-load

#   make bench-check           instructions of fixed work beside bench/counts.tsv; 5 % more fails
#   make bench-check-record    takes those of now as the ones to come; commit bench/counts.tsv
$(BUILD)/bench/paths: $(BUILD)/bench/paths.o $(call lib_of,server store io codec llhttp core base)
	$(CC) $(LDFLAGS) -o $@ $^ $(LIBS)
bench-check bench-check-record: $(BUILD)/bench/paths
	CC="$(CC)" bench/check --build $(BUILD) $(if $(filter %-record,$@),--record)
.PHONY: bench-check bench-check-record
