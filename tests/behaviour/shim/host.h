// A stand-in for Python that the shim recognises, and the memory it has "watched". One thread unless a scenario says
// so.
#pragma once

#include <errno.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

// Found by the fake runtime through dlsym. Read-only while that runtime is there: a call that was not redirected fails
// with EFAULT, or dies.
constexpr size_t kWatchedBytes = 1u << 20;
extern "C" __attribute__((visibility("default"))) unsigned char shim_watched[kWatchedBytes];

/// Fills the region with a pattern no scenario reads, and protects it again.
void prepare_region();

/// Prints result, errno when it failed, and what is new in the region: count, place and a checksum.
void show(const char* what, long result);

/// A file of `bytes` bytes of varied content with lines, at offset 0. Never closed.
int content_fd(size_t bytes);
/// The read end of a pipe that holds `text` and has no writer any more.
int pipe_fd(const char* text, size_t bytes);

// The scenarios, each prints the same with and without the fake runtime.
void reading_scenario();
void scatter_scenario();
void receiving_scenario();
void stream_scenario();
void line_scenario();
void interruption_scenario();
void memory_scenario();
void mask_scenario();
void handler_scenario();
void handler_mask_scenario();
void old_names_scenario();
void process_scenario();
// Only with the fake runtime.
void let_through_scenario();
