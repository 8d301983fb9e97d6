#include "runtime/output/sinks/trace_sink.h"

#include <errno.h>
#include <fcntl.h>
#include <rapidjson/writer.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>

#include "runtime/output/journal/own_file.h"

namespace watcher {
namespace {

using Writer = rapidjson::Writer<rapidjson::StringBuffer>;

constexpr std::string_view kHeader =
    "[\n{\"name\":\"watcher\",\"ph\":\"M\",\"pid\":0,\"tid\":0,\"args\":{\"schema\":1,\"start_ns\":\"";
constexpr std::string_view kEnd = "{\"name\":\"end\",\"ph\":\"M\",\"pid\":0,\"tid\":0,\"args\":{}}\n]\n";
constexpr std::string_view kNameStart = "{\"name\":\"thread_name\",\"ph\":\"M\"";
constexpr std::string_view kFlowStart = "{\"name\":\"thread\",\"ph\":\"s\"";
constexpr std::size_t kBlockBytes = 256 * 1024;
/// Another process's events of the same time may be written later than the first one.
constexpr std::uint64_t kLeadNs = 60'000'000'000;
constexpr std::size_t kLongestName = 48;
constexpr const char* kCategory = "variable";

std::uint64_t hex(std::string_view text) {
  std::uint64_t value = 0;
  std::from_chars(text.data(), text.data() + text.size(), value, 16);
  return value;
}

void text(Writer& json, std::string_view value) {
  json.String(value.data(), static_cast<rapidjson::SizeType>(value.size()));
}

void copy(Writer& json, const char* key, const rapidjson::Value* value) {
  if (value == nullptr || value->IsNull()) return;
  json.Key(key);
  value->Accept(json);
}

/// The value of one side of an event, when a counter can show it.
const rapidjson::Value* number_of(const rapidjson::Value* side) {
  const rapidjson::Value* value = side == nullptr ? nullptr : member(*side, "value");
  return value != nullptr && (value->IsNumber() || value->IsBool()) ? value : nullptr;
}

/// What a slice is called: the value, or what happened when there is none.
std::string short_value(const rapidjson::Value& event) {
  const rapidjson::Value* after = member(event, "after");
  const rapidjson::Value* value = after == nullptr ? nullptr : member(*after, "value");
  if (value == nullptr && after != nullptr) value = member(*after, "repr");
  std::string name(text_member(event, "op"));
  if (value != nullptr && value->IsString()) {
    name.assign(value->GetString(), value->GetStringLength());
  } else if (value != nullptr) {
    rapidjson::StringBuffer buffer;
    Writer json(buffer);
    value->Accept(json);
    name.assign(buffer.GetString(), buffer.GetSize());
  }
  if (name.size() <= kLongestName) return name;
  std::size_t end = kLongestName;
  while (end > 0 && (name[end] & 0xc0) == 0x80) --end;  // not in the middle of a character
  return name.substr(0, end) + "…";
}

void separate(rapidjson::StringBuffer* text) {
  text->Put(',');
  text->Put('\n');
}

void write_details(Writer& json, const rapidjson::Value& event) {
  json.Key("args");
  json.StartObject();
  for (const char* key : {"event_id", "op", "function", "path", "before", "after", "file", "line", "thread_id",
                          "thread_name", "task", "sql_context", "exact", "coalesced", "dropped_before", "annotations"})
    copy(json, key, member(event, key));
  json.EndObject();
}

std::uint64_t size_of(int fd) {
  struct stat status {};
  return ::fstat(fd, &status) == 0 ? static_cast<std::uint64_t>(status.st_size) : 0;
}

std::string first_bytes(int fd, std::size_t most) {
  std::string bytes(most, '\0');
  const ssize_t got = ::pread(fd, bytes.data(), most, 0);
  bytes.resize(got > 0 ? static_cast<std::size_t>(got) : 0);
  return bytes;
}

}  // namespace

Result<std::unique_ptr<Sink>> TraceSink::open(const std::string& path) {
  Result<UniqueFd> file = open_own_file(AT_FDCWD, path.c_str(), O_RDWR | O_CREAT);
  if (!file) return Error{file.error().code, "trace_file " + file.error().message};
  const int fd = file.value().get();
  const std::string begin = first_bytes(fd, kHeader.size());
  if (begin != kHeader.substr(0, begin.size()))
    return Error{EEXIST, "trace_file " + path + ": is there and no trace of Watcher; name another file, or remove it"};
  return std::unique_ptr<Sink>(new TraceSink(std::move(file.value())));
}

// What lies behind the delivered part was delivered and not told any more, or is the array's end.
bool TraceSink::resume(std::uint64_t state) {
  tracks_.clear();
  flows_.clear();
  size_ = state <= size_of(file_.get()) && state >= kHeader.size() ? state : 0;
  if (size_ != 0 && read_start()) {
    read_tracks();
    return ::ftruncate(file_.get(), static_cast<off_t>(size_)) == 0;
  }
  size_ = start_ns_ = 0;
  return true;
}

bool TraceSink::read_start() {
  const std::string begin = first_bytes(file_.get(), kHeader.size() + 24);
  if (!begin.starts_with(kHeader)) return false;
  const char* digits = begin.data() + kHeader.size();
  return std::from_chars(digits, begin.data() + begin.size(), start_ns_).ec == std::errc();
}

/// A track that has a name has an open slice, a flow that has begun goes on.
void TraceSink::read_tracks() {
  std::string block;
  for (std::uint64_t offset = 0; offset < size_;) {
    const std::size_t kept = block.size();
    block.resize(kept + std::min<std::uint64_t>(kBlockBytes, size_ - offset));
    const ssize_t got = ::pread(file_.get(), block.data() + kept, block.size() - kept, static_cast<off_t>(offset));
    if (got <= 0) return;
    offset += static_cast<std::uint64_t>(got);
    block.resize(kept + static_cast<std::size_t>(got));
    std::string_view lines = std::string_view(block).substr(0, block.rfind('\n') + 1);
    const std::size_t whole = lines.size();
    while (!lines.empty()) note_entry(take_line(&lines));
    block.erase(0, whole);
  }
}

void TraceSink::note_entry(std::string_view line) {
  const bool names_track = line.starts_with(kNameStart);
  if (!names_track && !line.starts_with(kFlowStart)) return;
  rapidjson::Document entry;
  if (line.ends_with(',')) line.remove_suffix(1);
  if (!parse_event(line, &entry)) return;
  const std::uint64_t pid = count_member(entry, "pid"), track = count_member(entry, "tid");
  if (names_track)
    tracks_.try_emplace(pid << 32 ^ track, Track{pid, track, ""});
  else
    flows_.insert(count_member(entry, "id"));
}

/// Before the first event: the trace begins with it.
bool TraceSink::begin() {
  start_ns_ = now_ns_ - std::min(now_ns_, kLeadNs);
  return ::ftruncate(file_.get(), 0) == 0 && append(std::string(kHeader) + std::to_string(start_ns_) + "\"}},\n");
}

bool TraceSink::append(std::string_view bytes) {
  const std::uint64_t before = size_;
  int error = room_below_limit(size_) < bytes.size() ? EFBIG : 0;
  while (error == 0 && !bytes.empty()) {
    const ssize_t written = ::pwrite(file_.get(), bytes.data(), bytes.size(), static_cast<off_t>(size_));
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) {
      error = written < 0 ? errno : EIO;
    } else {
      size_ += static_cast<std::uint64_t>(written);
      bytes.remove_prefix(static_cast<std::size_t>(written));
    }
  }
  set_fault(error == 0 ? "" : std::string("trace_file: write: ") + strerror(error));
  if (error == 0) return true;
  size_ = before;
  (void)!::ftruncate(file_.get(), static_cast<off_t>(before));
  return false;
}

template <class Json>
void TraceSink::open_entry(Json& json, const char* phase, std::string_view name, std::uint64_t pid,
                           std::uint64_t track) {
  char time[48];
  const std::uint64_t ns = now_ns_ > start_ns_ ? now_ns_ - start_ns_ : 0;
  snprintf(time, sizeof time, "%llu.%03u", static_cast<unsigned long long>(ns / 1000),
           static_cast<unsigned>(ns % 1000));
  json.Reset(text_);
  json.StartObject();
  if (!name.empty()) {
    json.Key("name");
    text(json, name);
  }
  json.Key("ph");
  json.String(phase);
  json.Key("ts");
  json.RawValue(time, strlen(time), rapidjson::kNumberType);
  json.Key("pid");
  json.Uint64(pid);
  json.Key("tid");
  json.Uint64(track);
}

void TraceSink::end_slice(const Track& track) {
  Writer json(text_);
  open_entry(json, "E", track.slice, track.pid, track.number);
  json.EndObject();
  separate(&text_);
}

TraceSink::Track& TraceSink::change_slice(std::uint64_t pid, std::uint64_t number, std::string_view name) {
  const auto [found, is_new] = tracks_.try_emplace(pid << 32 ^ number, Track{pid, number, ""});
  if (!is_new) {
    end_slice(found->second);
    return found->second;
  }
  Writer json(text_);
  open_entry(json, "M", "thread_name", pid, number);
  json.Key("args");
  json.StartObject();
  json.Key("name");
  text(json, name);
  json.EndObject();
  json.EndObject();
  separate(&text_);
  return found->second;
}

void TraceSink::render(const rapidjson::Value& event) {
  const std::string_view name = text_member(event, "variable_name");
  const std::uint64_t pid = count_member(event, "pid");
  // A track's number must be one that no thread has; threads' are below 2^22.
  const std::uint64_t track = 0x4000'0000 | (hex(text_member(event, "variable_id")) & 0x3fff'ffff);
  const std::uint64_t thread = count_member(event, "thread_id");
  std::string& slice = change_slice(pid, track, name).slice;
  slice = short_value(event);
  Writer json(text_);
  open_entry(json, "B", slice, pid, track);
  json.Key("cat");
  json.String(kCategory);
  write_details(json, event);
  json.EndObject();
  separate(&text_);
  open_entry(json, flows_.insert(thread).second ? "s" : "t", "thread", pid, track);
  json.Key("cat");
  json.String(kCategory);
  json.Key("id");
  json.Uint64(thread);
  json.Key("bp");
  json.String("e");
  json.EndObject();
  separate(&text_);
  const rapidjson::Value* number = number_of(member(event, "after"));
  if (number == nullptr) return;
  open_entry(json, "C", name, pid, track);
  json.Key("args");
  json.StartObject();
  json.Key("value");
  number->IsBool() ? json.Int(number->GetBool()) : number->Accept(json);
  json.EndObject();
  json.EndObject();
  separate(&text_);
}

std::size_t TraceSink::take(std::string_view lines) {
  const std::size_t bytes = lines.size();
  std::uint64_t rendered = 0, skipped = 0;
  text_.Clear();
  while (!lines.empty()) {
    const std::string_view line = take_line(&lines);
    rapidjson::Document event;
    if (!parse_event(line, &event)) {
      ++skipped;
      continue;
    }
    now_ns_ = count_member(event, "timestamp_ns");
    if (size_ == 0 && !begin()) return 0;
    render(event);
    ++rendered;
  }
  if (!append({text_.GetString(), text_.GetSize()})) {
    tracks_.clear();
    flows_.clear();
    return 0;
  }
  count(rendered, skipped);
  return bytes;
}

void TraceSink::finish() {
  const std::uint64_t delivered = size_;
  const std::string fault = this->fault();
  text_.Clear();
  for (const auto& [key, track] : tracks_) end_slice(track);
  if (delivered != 0) append(std::string(text_.GetString(), text_.GetSize()).append(kEnd));
  size_ = delivered;
  set_fault(fault);
}

}  // namespace watcher
