# make cover: how much of core and codec the unit tests and the golden stories run (not the
# simulator: what it happens to run is asked by nobody).
# Reads nothing but what gcc and gcov leave in build/cover; tools/cover says what is left out.
COVER_TESTS = $(filter $(BUILD)/src/core/% $(BUILD)/src/codec/% $(BUILD)/tests/scenario/%,$(TESTS))

.PHONY: cover covered
cover:
	$(MAKE) COVER=1 covered

# Counts of an earlier run would be added to.
covered: $(COVER_TESTS)
	find $(BUILD) -name '*.gcda' -delete
	tools/run-tests $^
	tools/cover $(BUILD) tests/uncovered.txt
