// What the handler process does with a fault: the storing thread is signalled and carries its store out itself; for a
// store of the kernel, or of a thread that blocks the signal, the page opens (kernel_window.h).
//
// Handler process only. `uffd_message` (engine.h) is the storing thread's side.
#pragma once

#include <cstdint>

namespace watcher {

/// `signal_number` goes to storing threads of the observed process.
void faults_start(int signal_number);
void on_fault(std::uint32_t thread_id, std::uintptr_t address, std::int64_t now_ns);
/// Looks after those that were not answered.
void faults_tend(std::int64_t now_ns);
/// Microseconds until faults_tend is worth a call.
long faults_patience_us();
/// The CPU on which the last writer ran, -1: not known.
int last_writer_cpu();

}  // namespace watcher
