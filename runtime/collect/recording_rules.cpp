#include "runtime/collect/recording_rules.h"

namespace watcher {
namespace {

/// Operations that put a value where one may have been; of the others each changes something.
bool puts_a_value(Op op) {
  return op == Op::kStore || op == Op::kSetItem || op == Op::kUpdate || op == Op::kSetDefault || op == Op::kWrite ||
         op == Op::kKernelWrite;
}

// Of a value that was cut only the beginning is known to be equal.
bool is_silent(const EventView& event, const Delta& delta) {
  return puts_a_value(event.op) && delta.empty() && event.before.kind == event.after.kind &&
         event.before.kind != ValueKind::kUnbound && event.before.type_name == event.after.type_name &&
         !event.before.truncated();
}

FsyncPolicy fsync_policy(const std::string& name) {
  if (name == "never") return FsyncPolicy::kNever;
  return name == "every" ? FsyncPolicy::kEvery : FsyncPolicy::kBatch;
}

RotationRules rotation_rules(const Options& options, FsyncPolicy fsync) {
  RotationRules rules;
  rules.size = options.number("rotate_size");
  rules.keep = options.number("rotate_keep");
  const std::string& format = options.get("rotate_compress");
  if (format != "none") rules.compression = format == "gzip" ? Compression::kGzip : Compression::kZstd;
  rules.sync = fsync != FsyncPolicy::kNever;
  return rules;
}

}  // namespace

RecordingRules RecordingRules::from(const Options& options) {
  RecordingRules rules;
  rules.record_init = options.flag("record_init");
  rules.skip_silent_stores = options.get("silent_stores") == "skip";
  rules.deltas.as_ranges = options.get("delta_format") == "ranges";
  if (options.get("mutation_depth") != "FULL") rules.deltas.depth = options.number("mutation_depth");
  rules.fsync = fsync_policy(options.get("fsync"));
  rules.rotation = rotation_rules(options, rules.fsync);
  return rules;
}

bool RecordingRules::leaves_out(const EventView& event, const Delta& delta) const {
  if (event.beside_items) return true;
  if (event.op == Op::kInit) return !record_init;
  return skip_silent_stores && is_silent(event, delta);
}

}  // namespace watcher
