# Power that fails, disks and memory that do: see crash_test.c and failing_test.c.
CRASH_TESTS = $(patsubst %.c,$(BUILD)/%,$(wildcard tests/crash/*_test.c))
CRASH_PARTS = $(patsubst %.c,$(BUILD)/%.o,$(filter-out %_test.c,$(wildcard tests/crash/*.c)))
# What the store does beside SQLite is led through vfs_log.c.
CRASH_WRAP  = $(patsubst %,-Wl$(comma)--wrap=%,open write fsync rename unlink calloc realloc)
comma      := ,

$(CRASH_TESTS): %: %.o $(CRASH_PARTS) $(call lib_of,store core base)
	$(CC) $(LDFLAGS) $(CRASH_WRAP) -o $@ $^ $(LIBS) -lcmocka

# All cuts, all calls: minutes.
.PHONY: crash crash-memory crash-mutants
crash: $(CRASH_TESTS)
	set -e; for t in $^; do CRASH_ALL=1 $$t; done

# Memory refused to each of SQLite's forty thousand calls for it: a quarter of an hour.
crash-memory: $(BUILD)/tests/crash/failing_test
	seq $(JOBS) | xargs -P $(JOBS) -I{} env CRASH_ALL=2 CRASH_PART={}/$(JOBS) $<

# Breaks the store in a dozen places, and asks these tests to notice.
crash-mutants:
	tests/crash/mutants/run
