// Which program runs a processor: Python for .py, Node for .js, our own host for a plug-in.
//
// Before the run begins, or on the collector's thread.
#pragma once

#include <string>

#include "config/options.h"
#include "config/processor_spec.h"
#include "runtime/base/result.h"
#include "runtime/process/worker_process.h"

namespace watcher {

/// The processor's file is checked as a configuration is, since it is code to run.
Result<WorkerCommand> worker_command(const ProcessorSpec& spec, const Options& options);

}  // namespace watcher
