// A damaged ring file, drained into events.jsonl as a killed program's: each line that comes out is valid JSON.
//
// The input is a list of damages to a good file: where (two bytes), how long (one byte), and the bytes to put there.
#include <fcntl.h>
#include <rapidjson/document.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/collect/ring_drain.h"
#include "runtime/queue/ring_file.h"
#include "runtime/queue/ring_layout.h"

namespace watcher {
namespace {

constexpr std::uint64_t kRunId = 0x5eed;
constexpr std::uint32_t kNobody = 0x7ffffff0;  // no pid is that large
constexpr RingLayout kLayout{.slot_count = 128, .heap_bytes = 8192};

void require(bool condition) {
  if (!condition) abort();
}

/// The parts of a payload, each padded to 8.
class Payload {
 public:
  template <class T>
  Payload& add(const T& part) {
    return add(std::string_view(reinterpret_cast<const char*>(&part), sizeof part));
  }
  Payload& add(std::string_view bytes) {
    bytes_.append(bytes).resize(padded8(static_cast<std::uint32_t>(bytes_.size())));
    return *this;
  }
  Payload& add_value(std::string_view bytes, DictionaryRef type = 0) {
    return add(ValueBlob{static_cast<std::uint32_t>(bytes.size()), type, bytes.size() + 1}).add(bytes);
  }
  const std::string& bytes() const { return bytes_; }

 private:
  std::string bytes_;
};

class Image {
 public:
  explicit Image(const char* directory) {
    RingSettings settings;
    settings.directory = directory;
    settings.slot_count = kLayout.slot_count;
    settings.heap_bytes = kLayout.heap_bytes;
    settings.run_id = kRunId;
    require(ring_create(settings, &ring_) == 0);
    fill_names();
    fill_events();
  }

 private:
  Dictionary& names() { return ring_.dictionary(); }

  void fill_names() {
    const FilterBlob filter{.when = names().intern("new != 7"), .max_per_second = 1000, .sample = 0.9};
    const auto variable = [&](const char* name, const char* format, std::uint32_t item_size, DictionaryRef filtered) {
      return names().intern(BlobKind::kVariable, VariableBlob{.id = 7,
                                                              .name = names().intern(name),
                                                              .format = names().intern(format),
                                                              .item_size = item_size,
                                                              .mutation_depth = 64,
                                                              .filter = filtered,
                                                              .flags = 0});
    };
    object_ = variable("counter", "", 0, names().intern(BlobKind::kFilter, filter));
    secret_ = variable("db_password", "", 0, 0);
    memory_ = variable("samples", "<q", 8, 0);
    place_ = names().intern(BlobKind::kPlace,
                            PlaceBlob{.function = names().intern("main"), .file = names().intern("a.py"), .line = 3});
    const SqlBlob sql{.statement = names().intern("select ?"),
                      .operation = names().intern("SELECT"),
                      .driver = names().intern("sqlite3"),
                      .database = names().intern("main"),
                      .params = names().intern("{'password': 'x', 'n': 1}"),
                      .flags = 0};
    context_ = names().intern(BlobKind::kContext, ContextBlob{.thread_name = names().intern("worker"),
                                                              .task = names().intern("task"),
                                                              .sql = names().intern(BlobKind::kSql, sql)});
    module_ = names().intern(
        BlobKind::kModule,
        ModuleBlob{.bias = 0x1000, .path = names().intern("/nonexistent/lib.so"), .build_id = names().intern("build")});
    type_ = names().intern("Type");
  }

  void event(Op op, DictionaryRef variable, ValueKind before, ValueKind after, int flags, const Payload& payload) {
    const std::string& bytes = payload.bytes();
    const Claim claim = ring_.claim(static_cast<std::uint32_t>(bytes.size()));
    require(bool(claim));
    EventHead& head = *claim.head;
    head.tsc = ring_.now();
    head.variable = variable;
    head.place = place_;
    head.context = context_;
    head.thread_id = 1;
    head.op = op;
    head.before_kind = before;
    head.after_kind = after;
    head.flags = static_cast<std::uint8_t>(flags);
    head.payload_bytes = static_cast<std::uint32_t>(bytes.size());
    head.before = 8;
    head.after = 0x2000;
    head.coalesced = 0;
    memcpy(claim.payload(), bytes.data(), bytes.size());
    claim.commit();
  }

  void fill_events() {
    using enum ValueKind;
    event(Op::kStore, object_, kInt, kFloat, 1, {});
    event(Op::kStore, object_, kText, kBigInt, 1, Payload().add_value("before").add_value("\x80\xff", 0));
    event(Op::kStore, secret_, kText, kObject, 2, Payload().add_value("hidden").add_value("<Type password=1>", type_));
    const PathElement index{.kind = PathKind::kIndex, .reserved = {}, .value = 4, .extra = 0};
    const PathElement key{.kind = PathKind::kText, .reserved = {}, .value = 8, .extra = 0};
    event(Op::kSetItem, object_, kNone, kBytes, 2 | kHasPath,
          Payload().add(PathHeader{2, 56}).add(index).add(key).add("password").add_value(std::string(100, '\0')));
    event(Op::kStore, object_, kBool, kUnbound, kHasStack,
          Payload().add(StackHeader{2, 1, 0}).add(place_).add(place_).add(SpanBlob{{1}, {2}, 1, 1, {}}));
    event(Op::kWrite, memory_, kMemory, kMemory, kBehindStore,
          Payload()
              .add(MemoryBlob{16, 0, module_, 1})
              .add(NativeFrame{0x2000, module_, 0})
              .add(std::string(16, 'a'))
              .add(std::string(16, 'b')));
    event(Op::kKernelWrite, memory_, kMemory, kMemory, kBulk | kHasStack,
          Payload()
              .add(BulkBlob{24, 2, 16, 1, module_})
              .add(BulkRange{0, 16, 8})
              .add(BulkRange{32, 8, 8})
              .add(std::string(16, 'a'))
              .add(std::string(16, 'b'))
              .add(StackHeader{0, 1, 1})
              .add(SpanBlob{{1}, {2}, 1, 1, {}})
              .add(NativeFrame{0x2000, module_, 0}));
  }

  EventRing ring_;
  DictionaryRef object_ = 0, secret_ = 0, memory_ = 0, place_ = 0, context_ = 0, module_ = 0, type_ = 0;
};

/// A place for one file, the same for all inputs.
class Bench {
 public:
  Bench() {
    require(mkdtemp(path_) != nullptr);
    directory_.reset(open(path_, O_RDONLY | O_DIRECTORY));
    { const Image image(path_); }
    const std::string name = "ring." + std::to_string(getpid());
    ring_.reset(openat(directory_.get(), name.c_str(), O_RDWR));
    require(bool(ring_));
    // The index of the dictionary's entries is for writers: what readers look at lies before and behind it.
    head_.resize(sizeof(RingHeader));
    tail_.resize(kLayout.file_bytes() - kLayout.heap_offset());
    read_at(0, &head_);
    read_at(kLayout.heap_offset(), &tail_);
    auto sink = JsonlSink::open(directory_.get(), FsyncPolicy::kNever);
    require(bool(sink));
    sink_ = std::move(sink.value());
    events_.reset(openat(directory_.get(), "events.jsonl", O_RDWR));
    tools_.options = Options();
    tools_.rules = RecordingRules::from(tools_.options);
    tools_.symbols = &symbols_;
    tools_.sink = sink_.get();
    tools_.summary = &summary_;
    tools_.run_id = kRunId;
  }

  void drain(std::string_view damages) {
    put_damaged(damages);
    auto reader = RingReader::open(UniqueFd(dup(ring_.get())));
    if (!reader) return;
    RingDrain drain({.name = "ring", .file = {}, .reader = std::move(reader.value())}, &tools_);
    for (int turns = 0; drain.state() != RingDrain::State::kDead; ++turns) {
      require(turns < 100);
      drain.drain();
    }
    drain.report();
    check_lines();
  }

 private:
  void read_at(std::uint64_t offset, std::string* to) const {
    require(pread(ring_.get(), to->data(), to->size(), static_cast<off_t>(offset)) == static_cast<ssize_t>(to->size()));
  }
  void write_at(std::uint64_t offset, const std::string& from) const {
    require(pwrite(ring_.get(), from.data(), from.size(), static_cast<off_t>(offset)) ==
            static_cast<ssize_t>(from.size()));
  }

  void put_damaged(std::string_view damages) {
    std::string head = head_, tail = tail_;
    while (damages.size() > 3) {
      const auto byte = [&](std::size_t at) { return static_cast<std::uint8_t>(damages[at]); };
      const std::size_t at = (byte(0) | byte(1) << 8) % (head.size() + tail.size());
      std::string& part = at < head.size() ? head : tail;
      const std::size_t start = at < head.size() ? at : at - head.size();
      const std::size_t length = std::min({std::size_t{byte(2)}, damages.size() - 3, part.size() - start});
      part.replace(start, length, damages.substr(3, length));
      damages.remove_prefix(3 + length);
    }
    // Nobody's: no process of this machine is looked at, or ended, as this ring's writer or handler.
    RingHeader* header = reinterpret_cast<RingHeader*>(head.data());
    header->pid = kNobody;
    header->holds_lock = 0;
    header->handler_pid.store(0);
    write_at(0, head);
    write_at(kLayout.heap_offset(), tail);
  }

  void check_lines() {
    struct stat status {};
    require(fstat(events_.get(), &status) == 0);
    std::string lines(static_cast<std::size_t>(status.st_size), '\0');
    require(pread(events_.get(), lines.data(), lines.size(), 0) == status.st_size && ftruncate(events_.get(), 0) == 0);
    std::string_view rest = lines;
    for (std::size_t end; (end = rest.find('\n')) != rest.npos; rest.remove_prefix(end + 1)) {
      rapidjson::Document line;
      line.Parse<rapidjson::kParseIterativeFlag | rapidjson::kParseValidateEncodingFlag>(rest.data(), end);
      require(!line.HasParseError() && line.IsObject() && line.HasMember("event_id"));
    }
    require(rest.empty());
  }

  char path_[32] = "/tmp/watcher-fuzz.XXXXXX";
  UniqueFd directory_, ring_, events_;
  std::string head_, tail_;
  std::unique_ptr<JsonlSink> sink_;
  NativeSymbols symbols_{SymbolSettings{}};
  Summary summary_{kRunId};
  DrainTools tools_;
};

}  // namespace
}  // namespace watcher

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static watcher::Bench* const bench = new watcher::Bench;  // lives as long as the fuzzer
  bench->drain({reinterpret_cast<const char*>(data), size});
  return 0;
}
