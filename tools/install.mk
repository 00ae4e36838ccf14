# make install    the command, libhearsay (static and shared), its header and hearsay.pc, below
#                 $(DESTDIR)$(prefix); make uninstall takes away the same files
# What libhearsay shows to others is the list include/hearsay.symbols and nothing else.
prefix       ?= /usr/local
exec_prefix  ?= $(prefix)
bindir       ?= $(exec_prefix)/bin
libdir       ?= $(exec_prefix)/lib
includedir   ?= $(prefix)/include
pkgconfigdir ?= $(libdir)/pkgconfig
INSTALL      ?= install

VERSION := $(shell sed -n 's/^\#define HEARSAY_VERSION "\(.*\)"/\1/p' include/hearsay.h)
# Before 1.0.0 the second number stands for the ABI, from then on the first.
ABI     := $(shell echo $(VERSION) | sed 's/^0\.\([0-9]*\)\..*/0.\1/; t; s/\..*//')
SONAME   = libhearsay.so.$(ABI)
SO       = $(BUILD)/lib/libhearsay.so.$(VERSION)
SYMBOLS  = include/hearsay.symbols

# Code for a shared library goes into a folder of its own: the broker is faster without.
PIC_OBJ = $(patsubst %.c,$(BUILD)/pic/%.o,$(foreach f,client io codec base,$(call src_of,$(f))))
ifneq ($(wildcard $(LLHTTP)/llhttp.c),)
PIC_LLHTTP = $(patsubst %,$(BUILD)/pic/llhttp/%.o,api http llhttp)
$(filter $(BUILD)/pic/src/codec/%,$(PIC_OBJ)): ALLFLAGS += -I/usr/share/include/llhttp
else
SHARED_LIBS = -lllhttp
endif
$(BUILD)/pic/%.o: %.c
	@mkdir -p $(@D)
	$(CC) $(ALLFLAGS) -fPIC -c -o $@ $<
$(BUILD)/pic/llhttp/%.o: $(LLHTTP)/%.c
	@mkdir -p $(@D)
	$(CC) -O2 -g -std=gnu11 -fPIC -I/usr/share/include/llhttp -c -o $@ $<

# One object of what the calls need and no more, in which nothing else has a name for others.
$(BUILD)/lib/hearsay.o: $(PIC_OBJ) $(PIC_LLHTTP) $(SYMBOLS)
	@mkdir -p $(@D)
	rm -f $(BUILD)/lib/all.a && ar rcs $(BUILD)/lib/all.a $(filter %.o,$^)
	$(LD) -r -o $@ $(addprefix -u ,$(shell cat $(SYMBOLS))) $(BUILD)/lib/all.a
	objcopy --keep-global-symbols=$(SYMBOLS) $@
$(BUILD)/lib/libhearsay.a: $(BUILD)/lib/hearsay.o
	rm -f $@ && ar rcs $@ $^
$(SO): $(BUILD)/lib/hearsay.o
	$(CC) -shared $(LDFLAGS) -Wl,-soname,$(SONAME) -Wl,-z,defs -Wl,-z,relro -o $@ $^ $(SHARED_LIBS)
$(BUILD)/lib/hearsay.pc: # each time: `prefix` may be another one now
	@mkdir -p $(@D)
	printf '%s\n' 'prefix=$(prefix)' 'exec_prefix=$(exec_prefix)' 'libdir=$(libdir)' \
	    'includedir=$(includedir)' '' 'Name: hearsay' \
	    'Description: publish to and subscribe at Hearsay brokers' 'Version: $(VERSION)' \
	    'Cflags: -I$${includedir}' 'Libs: -L$${libdir} -lhearsay' \
	    'Libs.private: $(SHARED_LIBS)' >$@

library: $(SO) $(BUILD)/lib/libhearsay.a $(BUILD)/lib/hearsay.pc
install: $(BUILD)/hearsay library
	$(INSTALL) -d $(addprefix $(DESTDIR),$(bindir) $(libdir) $(includedir) $(pkgconfigdir))
	$(INSTALL) -m 755 $(BUILD)/hearsay $(DESTDIR)$(bindir)/hearsay
	$(INSTALL) -m 644 include/hearsay.h $(DESTDIR)$(includedir)/hearsay.h
	$(INSTALL) -m 644 $(BUILD)/lib/libhearsay.a $(DESTDIR)$(libdir)/libhearsay.a
	$(INSTALL) -m 644 $(SO) $(DESTDIR)$(libdir)/libhearsay.so.$(VERSION)
	ln -sf libhearsay.so.$(VERSION) $(DESTDIR)$(libdir)/$(SONAME)
	ln -sf $(SONAME) $(DESTDIR)$(libdir)/libhearsay.so
	$(INSTALL) -m 644 $(BUILD)/lib/hearsay.pc $(DESTDIR)$(pkgconfigdir)/hearsay.pc
uninstall:
	rm -f $(DESTDIR)$(bindir)/hearsay $(DESTDIR)$(includedir)/hearsay.h \
	    $(addprefix $(DESTDIR)$(libdir)/,libhearsay.a libhearsay.so $(SONAME) libhearsay.so.$(VERSION)) \
	    $(DESTDIR)$(pkgconfigdir)/hearsay.pc
.PHONY: library install uninstall $(BUILD)/lib/hearsay.pc
