# chaos.mk - real brokers in namespaces, cut, killed, filled and set back; tests/chaos/chaos.py
#   make chaos T=120 SEED=7 BROKERS=5    SEED: replays that plan of faults (else one by chance)
#   make chaos CHAOS="--keep DIR"        leaves all files there when something was found
CHAOS   ?=
SEED    ?=
BROKERS ?= 3
# The T of make fuzz has a default of its own.
CHAOS_T  = $(if $(filter command environment,$(firstword $(origin T))),$(T),120)

chaos: $(BUILD)/hearsay
	/usr/bin/python3 tests/chaos/chaos.py --build $(BUILD) --seconds $(CHAOS_T) \
	    --brokers $(BROKERS) $(if $(SEED),--seed $(SEED)) $(CHAOS)
.PHONY: chaos
