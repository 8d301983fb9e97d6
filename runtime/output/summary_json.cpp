#include "runtime/output/summary_json.h"

#include <rapidjson/document.h>
#include <rapidjson/prettywriter.h>

#include <cstdio>
#include <cstdlib>

#include "runtime/output/json/utf8.h"

namespace watcher {
namespace {

constexpr int kSchema = 1;

using Json = rapidjson::Value;
using Writer = rapidjson::PrettyWriter<rapidjson::StringBuffer>;

std::string run_text(std::uint64_t run_id) {
  char text[24];
  std::snprintf(text, sizeof text, "%016llx", static_cast<unsigned long long>(run_id));
  return text;
}

struct CountMember {
  const char* key;
  std::uint64_t ProcessSummary::*field;
};
constexpr CountMember kProcessCounts[] = {
    {"started_ns", &ProcessSummary::started_ns},
    {"dropped", &ProcessSummary::dropped},
    {"blocked", &ProcessSummary::blocked},
    {"neighbour_traps", &ProcessSummary::neighbour_traps},
    {"single_steps", &ProcessSummary::single_steps},
    {"dictionary_refused", &ProcessSummary::dictionary_refused},
    {"regions_refused", &ProcessSummary::regions_refused},
    {"contexts_cut", &ProcessSummary::contexts_cut},
    {"buffered", &ProcessSummary::buffered},
    {"unfinished", &ProcessSummary::unfinished},
};
struct TextMember {
  const char* key;
  std::string ProcessSummary::*field;
};
constexpr TextMember kProcessTexts[] = {
    {"host", &ProcessSummary::host},
    {"engine", &ProcessSummary::engine},
    {"engine_reason", &ProcessSummary::engine_reason},
};

constexpr std::pair<const char*, std::uint64_t ProcessorCount::*> kProcessorCounts[] = {
    {"passed", &ProcessorCount::passed},     {"dropped", &ProcessorCount::dropped},
    {"failed", &ProcessorCount::failed},     {"timeouts", &ProcessorCount::timeouts},
    {"restarts", &ProcessorCount::restarts}, {"output_bytes", &ProcessorCount::output_bytes}};

bool write_text(std::string_view text, Writer* json) {
  std::string scratch;
  const std::string_view valid = valid_utf8(text, &scratch);
  return json->String(valid.data(), static_cast<rapidjson::SizeType>(valid.size()));
}

bool write_optional(const std::optional<int>& value, Writer* json) {
  return value ? json->Int(*value) : json->Null();
}

void write_process(const ProcessSummary& process, Writer* json) {
  json->StartObject();
  json->Key("pid");
  json->Uint(process.pid);
  for (const TextMember& member : kProcessTexts) {
    json->Key(member.key);
    const std::string& text = process.*member.field;
    text.empty() ? json->Null() : write_text(text, json);
  }
  for (const CountMember& member : kProcessCounts) {
    json->Key(member.key);
    json->Uint64(process.*member.field);
  }
  json->EndObject();
}

void write_variables(const RunTotals& totals, Writer* json) {
  json->StartObject();
  for (const auto& [id, variable] : totals.variables) {
    write_text(id, json);
    json->StartObject();
    json->Key("name");
    write_text(variable.name, json);
    json->Key("events");
    json->Uint64(variable.events);
    json->EndObject();
  }
  json->EndObject();
}

void write_processors(const RunTotals& totals, Writer* json) {
  json->StartArray();
  for (const ProcessorCount& processor : totals.processors) {
    json->StartObject();
    json->Key("name");
    write_text(processor.name, json);
    for (const auto& [key, field] : kProcessorCounts) {
      json->Key(key);
      json->Uint64(processor.*field);
    }
    json->Key("last_error");
    processor.last_error.empty() ? json->Null() : write_text(processor.last_error, json);
    json->EndObject();
  }
  json->EndArray();
}

void write_sinks(const RunTotals& totals, Writer* json) {
  json->StartObject();
  for (const auto& [name, sink] : totals.sinks) {
    write_text(name, json);
    json->StartObject();
    json->Key("delivered");
    json->Uint64(sink.delivered);
    json->Key("rejected");
    json->Uint64(sink.rejected);
    json->Key("fault");
    sink.fault.empty() ? json->Null() : write_text(sink.fault, json);
    json->EndObject();
  }
  json->EndObject();
}

const Json* member(const Json& object, const char* key) {
  if (!object.IsObject()) return nullptr;
  const auto found = object.FindMember(key);
  return found == object.MemberEnd() ? nullptr : &found->value;
}

std::uint64_t count_of(const Json& object, const char* key, std::uint64_t fallback = 0) {
  const Json* value = member(object, key);
  return value != nullptr && value->IsUint64() ? value->GetUint64() : fallback;
}

std::string text_of(const Json& object, const char* key) {
  const Json* value = member(object, key);
  return value != nullptr && value->IsString() ? std::string(value->GetString(), value->GetStringLength()) : "";
}

std::optional<int> optional_of(const Json& object, const char* key) {
  const Json* value = member(object, key);
  return value != nullptr && value->IsInt() ? std::optional(value->GetInt()) : std::nullopt;
}

ProcessSummary parse_process(const Json& object) {
  ProcessSummary process;
  process.pid = static_cast<std::uint32_t>(count_of(object, "pid"));
  for (const TextMember& text : kProcessTexts) process.*text.field = text_of(object, text.key);
  for (const CountMember& count : kProcessCounts) process.*count.field = count_of(object, count.key);
  return process;
}

void parse_processors(const Json& list, RunTotals* totals) {
  for (const Json& object : list.GetArray()) {
    ProcessorCount processor;
    processor.name = text_of(object, "name");
    for (const auto& [key, field] : kProcessorCounts) processor.*field = count_of(object, key);
    processor.last_error = text_of(object, "last_error");
    totals->processors.push_back(std::move(processor));
  }
}

void parse_variables(const Json& object, RunTotals* totals) {
  for (const auto& entry : object.GetObject()) {
    VariableCount count{text_of(entry.value, "name"), count_of(entry.value, "events")};
    totals->variables.emplace(std::string(entry.name.GetString(), entry.name.GetStringLength()), std::move(count));
  }
}

void parse_sinks(const Json& object, RunTotals* totals) {
  for (const auto& entry : object.GetObject())
    totals->sinks.emplace(std::string(entry.name.GetString(), entry.name.GetStringLength()),
                          SinkCount{count_of(entry.value, "delivered"), count_of(entry.value, "rejected"),
                                    text_of(entry.value, "fault")});
}

}  // namespace

std::string summary_text(std::uint64_t run_id, const RunTotals& totals) {
  rapidjson::StringBuffer buffer;
  Writer json(buffer);
  json.SetIndent(' ', 2);
  json.StartObject();
  json.Key("schema");
  json.Int(kSchema);
  json.Key("run_id");
  write_text(run_text(run_id), &json);
  const std::pair<const char*, std::uint64_t> counts[] = {{"started_ns", totals.started_ns},
                                                          {"ended_ns", totals.ended_ns},
                                                          {"written", totals.written},
                                                          {"recovered", totals.recovered},
                                                          {"dropped", totals.dropped},
                                                          {"coalesced", totals.coalesced},
                                                          {"filtered", totals.filtered},
                                                          {"redacted", totals.redacted},
                                                          {"waiting", totals.waiting},
                                                          {"symbol_hits", totals.symbol_hits},
                                                          {"symbol_misses", totals.symbol_misses},
                                                          // the guide's names
                                                          {"events_written", totals.written},
                                                          {"events_lost", totals.dropped},
                                                          {"buffered", totals.buffered()}};
  for (const auto& [key, count] : counts) {
    json.Key(key);
    json.Uint64(count);
  }
  json.Key("exit_code");
  write_optional(totals.exit_code, &json);
  json.Key("signal");
  write_optional(totals.signal, &json);
  json.Key("variables");
  write_variables(totals, &json);
  json.Key("processors");
  write_processors(totals, &json);
  json.Key("sinks");
  write_sinks(totals, &json);
  json.Key("process_count");
  json.Uint64(totals.process_count);
  json.Key("processes");
  json.StartArray();
  for (const ProcessSummary& process : totals.processes) write_process(process, &json);
  json.EndArray();
  json.EndObject();
  return std::string(buffer.GetString(), buffer.GetSize()) + "\n";
}

bool parse_summary(std::string_view text, std::uint64_t run_id, RunTotals* totals) {
  rapidjson::Document document;
  // Iterative: nesting in a file from outside must not use up the stack.
  document.Parse<rapidjson::kParseIterativeFlag>(text.data(), text.size());
  if (document.HasParseError() || !document.IsObject()) return false;
  if (run_id != 0 ? text_of(document, "run_id") != run_text(run_id) : !member(document, "run_id")) return false;
  totals->started_ns = count_of(document, "started_ns", totals->started_ns);
  totals->ended_ns = count_of(document, "ended_ns");
  totals->written = count_of(document, "written");
  totals->recovered = count_of(document, "recovered");
  totals->dropped = count_of(document, "dropped");
  totals->coalesced = count_of(document, "coalesced");
  totals->filtered = count_of(document, "filtered");
  totals->redacted = count_of(document, "redacted");
  totals->symbol_hits = count_of(document, "symbol_hits");
  totals->symbol_misses = count_of(document, "symbol_misses");
  totals->waiting = count_of(document, "waiting");
  totals->exit_code = optional_of(document, "exit_code");
  totals->signal = optional_of(document, "signal");
  totals->process_count = count_of(document, "process_count");
  if (const Json* variables = member(document, "variables"); variables != nullptr && variables->IsObject())
    parse_variables(*variables, totals);
  if (const Json* processors = member(document, "processors"); processors != nullptr && processors->IsArray())
    parse_processors(*processors, totals);
  if (const Json* sinks = member(document, "sinks"); sinks != nullptr && sinks->IsObject()) parse_sinks(*sinks, totals);
  if (const Json* processes = member(document, "processes"); processes != nullptr && processes->IsArray())
    for (const Json& process : processes->GetArray()) totals->processes.push_back(parse_process(process));
  return true;
}

std::uint64_t run_of_summary(std::string_view text) {
  rapidjson::Document document;
  document.Parse<rapidjson::kParseIterativeFlag>(text.data(), text.size());
  return document.HasParseError() ? 0 : std::strtoull(text_of(document, "run_id").c_str(), nullptr, 16);
}

}  // namespace watcher
