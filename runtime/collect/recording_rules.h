// What the options say about which events are written, and how.
#pragma once

#include "config/options.h"
#include "runtime/enrich/decode.h"
#include "runtime/enrich/delta.h"
#include "runtime/output/journal/jsonl_sink.h"
#include "runtime/output/json/delta_json.h"

namespace watcher {

struct RecordingRules {
  bool record_init = false;
  bool skip_silent_stores = false;
  DeltaStyle deltas;
  FsyncPolicy fsync = FsyncPolicy::kBatch;
  RotationRules rotation;

  static RecordingRules from(const Options& options);

  /// An initial state, or a store of an equal value, that is not to be recorded: no loss, not counted.
  bool leaves_out(const EventView& event, const Delta& delta) const;
};

}  // namespace watcher
