/* A libnvidia-ml.so.1 for machines without a GPU: two GPUs, the second divided into two MIG devices.
   STUB_LOST names a file; once it exists, GPU 0 has fallen off the bus. STUB_INIT is what nvmlInit answers.
   The driver keeps RESERVED for itself: the first memory call counts it as used, the second tells it apart (STUB_MEMORY: what
   that answers instead, for whole GPUs or, with a minus before it, for MIG devices alone). With NO_SECOND there is none. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { OK = 0, NOT_SUPPORTED = 3, NO_PERMISSION = 4, NOT_FOUND = 6, LOST = 15, VERSION_MISMATCH = 25 };
typedef struct { int number; const char *name, *uuid; unsigned long long total, used; } device;
typedef struct { unsigned gpu, memory; } utilisation;
typedef struct { unsigned long long total, free, used; } memory;
typedef struct { unsigned version; unsigned long long total, reserved, free, used; } memory_2;
#define RESERVED (512ull << 20)
static device gpus[] = {{0, "Stub A100", "GPU-aaaa1111-0000", 40ull << 30, 8ull << 30}, {1, "Stub H100", "GPU-bbbb2222-0000", 80ull << 30, 1ull << 30}};
static device slices[] = {{2, "Stub H100 MIG 1g.10gb", "MIG-cccc3333-0000", 10ull << 30, 2ull << 30},
                          {3, "Stub H100 MIG 2g.20gb", "MIG-dddd4444-0000", 20ull << 30, 3ull << 30}};

static int lost(device *d) { const char *file = getenv("STUB_LOST"); return d->number == 0 && file && access(file, F_OK) == 0; }
static int text(char *to, unsigned length, const char *from) { snprintf(to, length, "%s", from); return OK; }

int nvmlInitWithFlags(unsigned flags) { const char *answer = getenv("STUB_INIT"); return answer ? atoi(answer) : OK; }
int nvmlShutdown(void) { return OK; }
int nvmlDeviceGetCount_v2(unsigned *count) { *count = 2; return OK; }
int nvmlDeviceGetHandleByIndex_v2(unsigned index, device **d) {
    const char *denied = getenv("STUB_DENIED");
    if (index > 1) return NOT_FOUND;
    if (denied && (unsigned)atoi(denied) == index) return NO_PERMISSION;
    *d = &gpus[index];
    return OK;
}
int nvmlDeviceGetName(device *d, char *to, unsigned length) { return text(to, length, d->name); }
int nvmlDeviceGetUUID(device *d, char *to, unsigned length) { return text(to, length, d->uuid); }
int nvmlDeviceGetMigMode(device *d, unsigned *now, unsigned *later) {
    if (d->number == 0) return NOT_SUPPORTED;
    *now = *later = 1;
    return OK;
}
int nvmlDeviceGetMaxMigDeviceCount(device *d, unsigned *count) { *count = d->number == 1 ? 7 : 0; return OK; }
int nvmlDeviceGetMigDeviceHandleByIndex(device *d, unsigned index, device **to) {
    if (d->number != 1 || index > 1) return NOT_FOUND;
    *to = &slices[index];
    return OK;
}
int nvmlDeviceGetUtilizationRates(device *d, utilisation *u) {
    if (lost(d)) return LOST;
    if (d->number > 1) return NOT_SUPPORTED;
    u->gpu = 95 - d->number; u->memory = 40;
    return OK;
}
int nvmlDeviceGetMemoryInfo(device *d, memory *m) {
    if (lost(d)) return LOST;
    m->total = d->total; m->used = d->used + RESERVED; m->free = d->total - m->used;
    return OK;
}
#ifndef NO_SECOND
int nvmlDeviceGetMemoryInfo_v2(device *d, memory_2 *m) {
    const char *answer = getenv("STUB_MEMORY");
    if (m->version != (sizeof *m | 2u << 24)) return VERSION_MISMATCH;
    if (lost(d)) return LOST;
    if (answer && (atoi(answer) > 0 || d->number > 1)) return abs(atoi(answer));
    m->total = d->total; m->used = d->used; m->reserved = RESERVED; m->free = d->total - d->used - RESERVED;
    return OK;
}
#endif
int nvmlDeviceGetTemperature(device *d, int sensor, unsigned *to) {
    if (lost(d)) return LOST;
    if (sensor != 0 || d->number > 1) return NOT_SUPPORTED;
    *to = 71 + d->number;
    return OK;
}
int nvmlDeviceGetPowerUsage(device *d, unsigned *to) {
    if (lost(d)) return LOST;
    if (d->number > 1) return NOT_SUPPORTED;
    *to = 240500 + d->number;
    return OK;
}
