# fuzz.mk - every tests/fuzz/*_fuzz.c under libFuzzer, ASan and UBSan, T seconds each.
#
# Seeds that somebody wrote lie in tests/fuzz/seeds/NAME, what was found from them in
# tests/fuzz/corpus/NAME, words in tests/fuzz/seeds/NAME.dict.  What a run finds worth keeping
# stays in $(FUZZ)/corpus/NAME; make fuzz-merge puts the few files of it that reach more into
# tests/fuzz/corpus.  An input that fails is left as $(FUZZ)/NAME-crash-...; run it again by
# giving it to $(FUZZ)/NAME.
#
# make fuzz-cover   what of its decoder (tests/fuzz/decoders) each corpus reaches
# make fuzz-planted each bug of tests/fuzz/planted is found, within T seconds
#
# An empty struct str may be NULL, and NULL + 0 is what clang calls a pointer overflow; what
# really runs out of bounds is ASan's to find.
T            ?= 60
FUZZ_CC      ?= clang
FUZZ_FOLDERS ?= base core codec store io server
FUZZ          = $(BUILD)/fuzz
FUZZ_FLAGS    = -std=c11 -D_GNU_SOURCE -Isrc -I. -Iinclude -I$(BUILD)/gen -I/usr/share/include/llhttp -Werror=implicit-function-declaration -O1 -g -MMD -MP \
                -fno-omit-frame-pointer $(FUZZ_WATCH) -DSTORE_SEGMENT_LSNS=64
FUZZ_WATCH    = -fno-sanitize-recover=all -fsanitize=address,undefined -fno-sanitize=pointer-overflow
FUZZ_TARGETS  = $(patsubst tests/fuzz/%.c,%,$(wildcard tests/fuzz/*_fuzz.c))
FUZZ_OBJECTS  = $(patsubst %.c,$(FUZZ)/%.o,$(foreach f,$(FUZZ_FOLDERS),$(call src_of,$(f)))) \
                $(FUZZ_LLHTTP)
# Without its sources llhttp is the system's, and not looked into.
ifneq ($(wildcard $(LLHTTP)/llhttp.c),)
FUZZ_LLHTTP   = $(patsubst %,$(FUZZ)/llhttp/%.o,api http llhttp)
else
FUZZ_LIBS     = -lllhttp
endif

fuzz: $(FUZZ_TARGETS)
	@echo "$(words $(FUZZ_TARGETS)) passed, 0 failed"

$(FUZZ)/rows_fuzz: FUZZ_LIBS += -lcmocka # of tests/store_kit.h

corpus_of = $(wildcard tests/fuzz/seeds/$(1) tests/fuzz/corpus/$(1))
dict_of   = $(addprefix -dict=,$(wildcard tests/fuzz/seeds/$(1).dict))

# Side by side with make -j.  A line each, unless something is found.
.PHONY: fuzz $(FUZZ_TARGETS)
$(FUZZ_TARGETS): %: $(FUZZ)/%
	@mkdir -p $(FUZZ)/corpus/$@
	@$(FUZZ)/$@ -max_total_time=$(T) -timeout=10 -verbosity=0 -print_final_stats=1 \
	    -artifact_prefix=$(FUZZ)/$@- $(call dict_of,$@) $(FUZZ)/corpus/$@ $(call corpus_of,$@) \
	    >$(FUZZ)/$@.out 2>&1 || { cat $(FUZZ)/$@.out; echo "0 passed, 1 failed"; exit 1; }
	@awk -v name=$@ '/executed_units/ { print name ": " $$2 " runs in $(T) s, nothing found" }' \
	    $(FUZZ)/$@.out

.PRECIOUS: $(FUZZ)/%.o
$(FUZZ)/llhttp/%.o: $(LLHTTP)/%.c tests/fuzz/fuzz.mk
	@mkdir -p $(@D)
	$(FUZZ_CC) $(FUZZ_FLAGS) -fsanitize=fuzzer-no-link -c -o $@ $<
$(FUZZ)/src/store/store_schema.o: $(BUILD)/gen/schema.inc $(BUILD)/gen/views.inc
$(FUZZ)/%.o: %.c tests/fuzz/fuzz.mk
	@mkdir -p $(@D)
	$(FUZZ_CC) $(FUZZ_FLAGS) -fsanitize=fuzzer-no-link -c -o $@ $<
$(FUZZ)/%_fuzz: $(FUZZ)/tests/fuzz/%_fuzz.o $(FUZZ)/libfuzzed.a
	$(FUZZ_CC) -fsanitize=fuzzer $(FUZZ_WATCH) -o $@ $(filter %.o %.a,$^) $(FUZZ_LIBS) $(LIBS)
$(FUZZ)/libfuzzed.a: $(FUZZ_OBJECTS)
	rm -f $@ && ar rcs $@ $^

# ---- what the corpora are worth ----
.PHONY: fuzz-all fuzz-cover fuzz-merge fuzz-planted
fuzz-all: $(addprefix $(FUZZ)/,$(FUZZ_TARGETS))

fuzz-cover:
	@tests/fuzz/cover --tools # before minutes of building
	$(MAKE) -s FUZZ=$(BUILD)/fuzz-cover FUZZ_WATCH='-fprofile-instr-generate -fcoverage-mapping' fuzz-all
	tests/fuzz/cover $(BUILD)/fuzz-cover

# Counters of how often an edge was taken would keep ten times as many files.
fuzz-merge: fuzz-all
	for t in $(FUZZ_TARGETS); do tests/fuzz/merge $(FUZZ)/$$t $(FUZZ)/corpus/$$t || exit 1; done

fuzz-planted:
	T=$(T) tests/fuzz/planted/run
