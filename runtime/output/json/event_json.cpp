#include "runtime/output/json/event_json.h"

#include <charconv>
#include <cstdio>
#include <cstring>

#include "runtime/enrich/system_calls.h"
#include "runtime/output/json/value_json.h"

namespace watcher {
namespace {

constexpr std::size_t kMaxSubjects = 1u << 16;

template <class Number>
std::string_view number_text(Number value, int base, char (&digits)[24]) {
  return {digits, static_cast<std::size_t>(std::to_chars(digits, digits + sizeof digits, value, base).ptr - digits)};
}

// Unique in the file also when a pid comes back, or execs: the image's start goes in. A ticket is never given twice.
std::string head_of(const RingIdentity& ring) {
  const auto fold = [](std::uint64_t value) { return static_cast<unsigned>(value ^ value >> 32); };
  char text[96];
  std::snprintf(text, sizeof text, R"({"schema":1,"event_id":"evt-%08x%08x-%u-)", fold(ring.run_id),
                fold(ring.start_tsc), ring.pid);
  return text;
}

void foreign_or_null(bool known, std::string_view text, JsonWriter* json) {
  known ? json->foreign_text(text) : json->null();
}

void write_place(const SourcePlace& place, std::string_view function, JsonWriter* json) {
  json->key("symbol");
  foreign_or_null(!function.empty(), function, json);
  json->key("file");
  foreign_or_null(!place.file.empty(), place.file, json);
  json->key("line");
  place.file.empty() ? json->null() : json->integer(place.line);
}

void write_symbol(const NativeSymbol& symbol, JsonWriter* json) {
  char digits[24];
  std::string offset = "0x";
  json->start_object();
  json->key("module");
  foreign_or_null(!symbol.module.empty(), symbol.module, json);
  write_place(symbol.place, symbol.text(), json);
  json->key("offset");
  json->text(offset.append(number_text(symbol.offset, 16, digits)));
  if (!symbol.inlined_by.empty()) {
    json->key("inlined_by");
    json->start_array();
    for (const SourcePlace& place : symbol.inlined_by) {
      json->start_object();
      write_place(place, place.function, json);
      json->end_object();
    }
    json->end_array();
  }
  json->end_object();
}

void write_stack(const std::vector<StackFrame>& stack, JsonWriter* json) {
  json->start_array();
  for (const StackFrame& frame : stack) {
    json->start_object();
    json->key("function");
    json->foreign_text(frame.function);
    json->key("file");
    json->foreign_text(frame.file);
    json->key("line");
    json->integer(frame.line);
    json->end_object();
  }
  json->end_array();
}

}  // namespace

EventJson::EventJson(const RingIdentity& ring, const DeltaStyle& style)
    : pid_(ring.pid), head_(head_of(ring)), deltas_(style), json_(&unused_) {}

std::string EventJson::subject_text(const EventView& event) const {
  char id[24];
  std::snprintf(id, sizeof id, "%016llx", static_cast<unsigned long long>(event.variable_id));
  const bool has_file = event.has_place && !event.file.empty();
  JsonBuffer buffer;
  JsonWriter json(&buffer);
  json.key("pid");
  json.count(pid_);
  json.key("variable_id");
  json.text(id);
  json.key("variable_name");
  json.foreign_text(event.variable_name);
  json.key("function");
  foreign_or_null(event.has_place, event.function, &json);
  json.key("file");
  foreign_or_null(has_file, event.file, &json);
  json.key("line");
  has_file ? json.integer(event.line) : json.null();
  json.key("thread_id");
  return std::string(buffer.text());
}

const std::string& EventJson::subject_members(const EventView& event) {
  const std::uint64_t key = std::uint64_t{event.variable_ref} << 32 | event.place_ref;
  if (key == last_subject_key_ && last_subject_ != nullptr) return *last_subject_;
  if (subjects_.size() >= kMaxSubjects) subjects_.clear();
  std::string& members = subjects_[key];
  if (members.empty()) members = subject_text(event);
  last_subject_key_ = key;
  last_subject_ = &members;
  return members;
}

void EventJson::write_head(std::uint64_t ticket, std::uint64_t timestamp_ns) {
  constexpr std::string_view kTimestamp = "\",\"timestamp_ns\":";
  json_.value(head_.size() + kTimestamp.size() + 2 * kLongestDecimal, [&](char* to) {
    std::memcpy(to, head_.data(), head_.size());
    to = put_decimal(ticket, to + head_.size());
    std::memcpy(to, kTimestamp.data(), kTimestamp.size());
    return put_decimal(timestamp_ns, to + kTimestamp.size());
  });
}

void EventJson::write_sides(const EventView& event) {
  if (event.is_memory) {
    const MemoryItems items(event);
    json_.key("path");
    event.path.empty() ? items.write_path(&json_) : write_path(event.path, &json_);
    json_.key("before");
    items.write_side(event.before, &json_);
    json_.key("after");
    items.write_side(event.after, &json_);
    return;
  }
  json_.key("path");
  write_path(event.path, &json_);
  json_.key("before");
  write_value(event.before, &json_);
  json_.key("after");
  write_value(event.after, &json_);
}

void EventJson::write_sql(const EventView& event) {
  json_.start_object();
  json_.key("statement");
  foreign_or_null(!event.sql_statement.empty(), event.sql_statement, &json_);
  json_.key("operation");
  foreign_or_null(!event.sql_operation.empty(), event.sql_operation, &json_);
  json_.key("driver");
  json_.foreign_text(event.sql_driver);
  json_.key("database");
  foreign_or_null(!event.sql_database.empty(), event.sql_database, &json_);
  if (!event.sql_params.empty()) {
    json_.key("params");
    json_.foreign_text(event.sql_params);
  }
  if (event.sql_cut) {
    json_.key("cut");
    json_.boolean(true);
  }
  json_.end_object();
}

// Most events come from the code that the one before came from.
void EventJson::write_native(const EventView& event) {
  if (event.native == nullptr) return;
  if (event.native != last_native_) {
    JsonBuffer buffer;
    JsonWriter json(&buffer);
    write_symbol(*event.native, &json);
    native_text_ = buffer.text();
    last_native_ = event.native;
  }
  json_.key("native");
  json_.raw(native_text_);
  if (event.native_callers.empty()) return;
  json_.key("native_stack");
  json_.start_array();
  for (const auto& caller : event.native_callers) write_symbol(*caller, &json_);
  json_.end_array();
}

void EventJson::write_span(const SpanBlob& span) {
  const auto hex = [this](const std::uint8_t* bytes, std::size_t count) {
    char digits[2 * sizeof span.trace_id];
    for (std::size_t i = 0; i < count; ++i) {
      digits[2 * i] = "0123456789abcdef"[bytes[i] >> 4];
      digits[2 * i + 1] = "0123456789abcdef"[bytes[i] & 15];
    }
    json_.text({digits, 2 * count});
  };
  json_.key("trace_id");
  hex(span.trace_id, sizeof span.trace_id);
  json_.key("span_id");
  hex(span.span_id, sizeof span.span_id);
  json_.key("trace_flags");
  hex(&span.flags, 1);
}

void EventJson::write_marks(const EventView& event) {
  if (!event.thread_name.empty()) {
    json_.key("thread_name");
    json_.foreign_text(event.thread_name);
  }
  if (!event.task.empty()) {
    json_.key("task");
    json_.foreign_text(event.task);
  }
  if (!event.stack.empty()) {
    json_.key("stack");
    write_stack(event.stack, &json_);
  }
  if (event.span.known != 0) write_span(event.span);
  if (event.is_memory && event.instruction != 0) {
    char digits[24];
    std::string address = "0x";
    json_.key("ip");
    json_.text(address.append(number_text(event.instruction, 16, digits)));
    write_native(event);
  }
  if (event.system_call != 0) {
    const std::string_view name = system_call_name(event.system_call - 1);
    json_.key("system_call");
    name.empty() ? json_.count(event.system_call - 1) : json_.text(name);
  }
  json_.key("exact");
  json_.boolean(event.exact);
  if (!event.exact_line) {
    json_.key("exact_line");
    json_.boolean(false);
  }
  if (event.coalesced > 0) {
    json_.key("coalesced");
    json_.count(event.coalesced);
  }
}

void EventJson::append(const EventView& event, Delta* delta, std::uint64_t timestamp_ns, JsonBuffer* out) {
  json_.restart(out);
  write_head(event.ticket, timestamp_ns);
  json_.raw_members(subject_members(event));
  json_.count(event.thread_id);
  json_.key("scope");
  json_.name(scope_name(event.scope));
  json_.key("op");
  json_.name(op_name(event.op));
  write_sides(event);
  deltas_.write(delta, event.is_memory ? event.memory_offset : 0, event.mutation_depth, &json_);
  json_.key("sql_context");
  event.has_sql ? write_sql(event) : json_.null();
  write_marks(event);
  json_.end_object();
  out->append('\n');
}

std::size_t EventJson::tell_dropped(std::size_t line_end, std::uint64_t dropped_before, JsonBuffer* lines) {
  const std::string member = ",\"dropped_before\":" + std::to_string(dropped_before);
  lines->insert(line_end - 2, member);  // in front of the brace and the newline
  return member.size();
}

}  // namespace watcher
