// `_tile_loadconfig` with its whole operand: see llama.cmake.
#pragma once
#if defined(__AMX_TILE__)
#include <immintrin.h>
static inline void tile_loadconfig_whole(const void *config) {
  __asm__ volatile("ldtilecfg %0" ::"m"(*(const char(*)[64])config));
}
#define _tile_loadconfig tile_loadconfig_whole
#endif
