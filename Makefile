# make            build/hearsay and the archives      make test   unit tests and scenarios
# make tidy       checks the house                    make bench  measures (docs/BENCH.md)
# make bench-check    instruction counts of the hot paths against bench/counts.tsv
# make SAN=1 ...  the same under AddressSanitizer and UBSan, in build/asan
# make TSAN=1 ... the same under ThreadSanitizer, in build/tsan
# make cover      what of core and codec the tests run, and the lines that they do not
# make fuzz T=60  each fuzz target for T seconds      make format clang-format, in place
# make sim SEEDS=1000   random faults in virtual time; SEED=7 replays one, WITHOUT=crash,cut less
# make fuzz-cover what their corpora reach            make fuzz-planted  what they find
# make crash      power fails at each moment, and each call (a part of it is in make test)
# make install prefix=/usr/local    the command and libhearsay (tools/install.mk)
# make crash-memory     each time that SQLite asks for memory there is none
CC      ?= gcc
SAN     ?=
TSAN    ?=
COVER   ?=
BUILD   ?= build$(if $(SAN),/asan)$(if $(TSAN),/tsan)$(if $(COVER),/cover)
LLHTTP  ?= /usr/share/llhttp
WARN     = -Wall -Wextra -Wshadow -Wconversion -Wswitch-enum -Wmissing-prototypes -Wcast-qual \
           -Wvla -Werror
CFLAGS  ?= -O2 -g
ALLFLAGS = -std=c11 -D_GNU_SOURCE -Isrc -I. -Iinclude -I$(BUILD)/gen $(WARN) $(CFLAGS) -MMD -MP \
           -fstack-protector-strong -D_FORTIFY_SOURCE=2
ifneq ($(SAN),)
ALLFLAGS := $(filter-out -D_FORTIFY_SOURCE=2,$(ALLFLAGS)) -fsanitize=address,undefined \
            -fno-sanitize-recover=all -fno-omit-frame-pointer
LDFLAGS  += -fsanitize=address,undefined
endif
ifneq ($(TSAN),)
ALLFLAGS := $(filter-out -D_FORTIFY_SOURCE=2,$(ALLFLAGS)) -fsanitize=thread \
            -fno-omit-frame-pointer
LDFLAGS  += -fsanitize=thread
endif
ifneq ($(COVER),)
ALLFLAGS := $(filter-out -O2 -D_FORTIFY_SOURCE=2,$(ALLFLAGS)) -O0 --coverage
LDFLAGS  += --coverage
endif

src_of    = $(filter-out %_test.c,$(wildcard src/$(1)/*.c))
obj_of    = $(patsubst %.c,$(BUILD)/%.o,$(call src_of,$(1)))
FOLDERS   = base core codec store io server client load cli
ARCHIVES  = $(patsubst %,$(BUILD)/lib%.a,base core codec store io server client load llhttp)
LIBS      = -luv -lsqlite3 -lz -linih -lm -lpthread
TESTS     = $(patsubst %.c,$(BUILD)/%,$(wildcard src/*/*_test.c tests/scenario/*_test.c tests/crash/*_test.c \
                                           sim/*_test.c))

.DELETE_ON_ERROR:
.PHONY: all golden test sim mutants tidy format bench fuzz clean

all: $(BUILD)/hearsay $(BUILD)/libbase.a $(BUILD)/libcore.a $(BUILD)/libcodec.a

# The order is the house: each archive may need those behind it, never those before.
LINK = $(BUILD)/libserver.a $(BUILD)/libclient.a $(BUILD)/libload.a $(BUILD)/libstore.a $(BUILD)/libio.a \
       $(BUILD)/libcodec.a $(BUILD)/libllhttp.a $(BUILD)/libcore.a $(BUILD)/libbase.a

$(BUILD)/hearsay: $(call obj_of,cli) $(LINK)
	$(CC) $(LDFLAGS) -o $@ $^ $(LIBS)

define archive
$(BUILD)/lib$(1).a: $(call obj_of,$(1))
	rm -f $$@ && ar rcs $$@ $$^
endef
$(foreach f,base core codec store io server client load,$(eval $(call archive,$(f))))

# llhttp: Debian 12 has its sources, compiled where they lie; later ones have a library, and
# then this archive is empty.
ifneq ($(wildcard $(LLHTTP)/llhttp.c),)
LLHTTP_OBJ = $(patsubst %,$(BUILD)/llhttp/%.o,api http llhttp)
$(call obj_of,codec): ALLFLAGS += -I/usr/share/include/llhttp
else
LIBS += -lllhttp
endif
$(BUILD)/llhttp/%.o: $(LLHTTP)/%.c
	@mkdir -p $(@D)
	$(CC) -O2 -g -std=gnu11 -I/usr/share/include/llhttp -c -o $@ $<
$(BUILD)/libllhttp.a: $(LLHTTP_OBJ)
	@mkdir -p $(@D)
	rm -f $@ && ar rcs $@ $^

# The schema is kept as SQL and embedded as strings.
$(BUILD)/gen/%.inc: src/store/%.sql
	@mkdir -p $(@D)
	sed 's/\\/\\\\/g; s/"/\\"/g; s/^/"/; s/$$/\\n"/' $< > $@
$(BUILD)/src/store/store_schema.o: $(BUILD)/gen/schema.inc $(BUILD)/gen/views.inc

$(BUILD)/%.o: %.c
	@mkdir -p $(@D)
	$(CC) $(ALLFLAGS) -c -o $@ $<

$(BUILD)/libsim.a: $(patsubst %.c,$(BUILD)/%.o,$(filter-out %_test.c sim/main.c,$(wildcard sim/*.c)) \
                     tests/scenario/story.c)
	rm -f $@ && ar rcs $@ $^

# A test links what its folder may know, and nothing else.
lib_of = $(patsubst %,$(BUILD)/lib%.a,$(1))
define tests_of
$(patsubst %.c,$(BUILD)/%,$(wildcard $(1)/*_test.c)): %: %.o $(call lib_of,$(2))
	$$(CC) $$(LDFLAGS) -o $$@ $$^ $$(LIBS) -lcmocka -ljansson
endef
$(eval $(call tests_of,src/base,base))
$(eval $(call tests_of,src/core,core base))
$(eval $(call tests_of,src/codec,codec llhttp core base))
$(eval $(call tests_of,src/store,store core base))
$(eval $(call tests_of,src/io,io base))
$(eval $(call tests_of,src/server,server store io codec llhttp core base))
$(eval $(call tests_of,src/client,client io codec llhttp base))
# The commands without main(), for their tests; the broker's needs the whole house.
$(BUILD)/libcli.a: $(filter-out %/main.o %/broker.o,$(call obj_of,cli))
	rm -f $@ && ar rcs $@ $^
$(eval $(call tests_of,src/cli,cli client load io codec llhttp base))
$(eval $(call tests_of,sim,sim store codec llhttp core base))
$(eval $(call tests_of,tests/scenario,sim store codec llhttp core base))

test: $(TESTS)
	tools/run-tests $(TESTS)

# ./run and ./test quick in a new Debian of its own, as root and as a user.
fresh:
	tests/fresh/run
.PHONY: fresh

# With TSAN=1: those of the folders that have threads.
THREADED = $(filter $(BUILD)/src/io/% $(BUILD)/src/server/% $(BUILD)/src/client/%,$(TESTS))
threads: $(THREADED)
	tools/run-tests $^
.PHONY: threads

# Random faults in virtual time.
SEEDS ?= 300
JOBS  ?= 2
$(BUILD)/simulator: $(BUILD)/sim/main.o $(call lib_of,sim store codec llhttp core base)
	$(CC) $(LDFLAGS) -o $@ $^ $(LIBS)
sim: $(BUILD)/simulator
	$< $(if $(SEED),--seed $(SEED),--seeds $(SEEDS) --jobs $(JOBS) $(if $(FIRST),--first $(FIRST))) \
	    $(if $(WITHOUT),--without $(WITHOUT))

# Broken in one place after the other: the simulator must name what is violated.
mutants:
	sim/mutants/run

# Rewrites the golden stories; read the difference before you commit it.
GOLDEN_TESTS = $(patsubst %.c,$(BUILD)/%,$(shell grep -l story_ends tests/scenario/*_test.c))
golden: $(GOLDEN_TESTS)
	set -e; for t in $^; do GOLDEN=1 $$t; done

tidy: $(BUILD)/libbase.a $(BUILD)/libcore.a $(BUILD)/libcodec.a
	tools/tidy $(BUILD)

format:
	clang-format -i $$(git ls-files '*.c' '*.h')

-include $(wildcard tools/cover.mk tools/install.mk bench/bench.mk tests/fuzz/fuzz.mk tests/crash/crash.mk \
                    tests/chaos/chaos.mk)

clean:
	rm -rf build

-include $(shell find $(BUILD) -name '*.d' 2>/dev/null)
