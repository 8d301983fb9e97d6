// A damaged ring, read and rendered as a killed program's: each line that comes out is valid JSON.
//
// The input is a list of damages to a good ring: where (two bytes), how long (one byte), and the bytes to put there. It
// lies in memory, and no line is written to a file, so that a second has room for thousands of inputs.
#include <fcntl.h>
#include <rapidjson/encodedstream.h>
#include <rapidjson/memorystream.h>
#include <rapidjson/reader.h>
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

#include "runtime/base/scoped_mmap.h"
#include "runtime/collect/event_batch.h"
#include "runtime/queue/ring_file.h"
#include "runtime/queue/ring_layout.h"
#include "runtime/queue/short_step.h"

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
    head.coalesced = (flags & kShortPath) != 0 && before != ValueKind::kMemory ? short_step(type_) : 0;
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
    event(Op::kSetItem, object_, kNone, kInt, 2 | kShortPath, {});
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

/// A ring in memory, the same for all inputs.
class Bench {
 public:
  Bench() : ring_(memfd_create("ring", MFD_CLOEXEC)) {
    char path[] = "/tmp/watcher-fuzz.XXXXXX";
    require(mkdtemp(path) != nullptr);
    { const Image image(path); }
    const std::string name = std::string(path) + "/ring." + std::to_string(getpid());
    const UniqueFd file(open(name.c_str(), O_RDONLY));
    std::string bytes(kLayout.file_bytes(), '\0');
    require(read(file.get(), bytes.data(), bytes.size()) == static_cast<ssize_t>(bytes.size()));
    require(write(ring_.get(), bytes.data(), bytes.size()) == static_cast<ssize_t>(bytes.size()));
    unlink(name.c_str());
    rmdir(path);
    // The index of the dictionary's entries is for writers: what readers look at lies before and behind it.
    head_ = bytes.substr(0, sizeof(RingHeader));
    tail_ = bytes.substr(kLayout.heap_offset());
    void* const mapped = mmap(nullptr, bytes.size(), PROT_READ | PROT_WRITE, MAP_SHARED, ring_.get(), 0);
    require(mapped != MAP_FAILED);
    memory_ = ScopedMmap(mapped, bytes.size());
    tools_.rules = RecordingRules::from(tools_.options);
    tools_.symbols = &symbols_;
  }

  void drain(std::string_view damages) {
    put_damaged(damages);
    auto reader = RingReader::open(UniqueFd(dup(ring_.get())));
    if (!reader) return;
    EventBatch batch(reader.value(), tools_);
    for (bool more = true; more;) {
      more = batch.take(&reader.value(), true, 512);
      batch.render();
      (void)batch.tell_dropped(3, reader.value().header()->dropped);
      check(batch);
      reader.value().release(batch.end());
    }
    (void)reader.value().waiting();
  }

 private:
  void put_damaged(std::string_view damages) {
    std::byte* const tail = memory_.bytes() + kLayout.heap_offset();
    memcpy(memory_.bytes(), head_.data(), head_.size());
    memcpy(tail, tail_.data(), tail_.size());
    while (damages.size() > 3) {
      const auto byte = [&](std::size_t at) { return static_cast<std::uint8_t>(damages[at]); };
      const std::size_t at = (byte(0) | byte(1) << 8) % (head_.size() + tail_.size());
      const bool in_head = at < head_.size();
      const std::size_t start = in_head ? at : at - head_.size();
      const std::size_t room = (in_head ? head_ : tail_).size() - start;
      const std::size_t length = std::min({std::size_t{byte(2)}, damages.size() - 3, room});
      memcpy((in_head ? memory_.bytes() : tail) + start, damages.data() + 3, length);
      damages.remove_prefix(3 + length);
    }
    reinterpret_cast<RingHeader*>(memory_.bytes())->pid = kNobody;  // no process of this machine is looked at
  }

  void check(const EventBatch& batch) {
    std::string_view rest = batch.text();
    for (const EventBatch::Line& line : batch.lines()) {
      require(line.bytes <= rest.size() && rest.find('\n') == line.bytes - 1);
      rapidjson::MemoryStream bytes(rest.data(), line.bytes);
      rapidjson::EncodedInputStream<rapidjson::UTF8<>, rapidjson::MemoryStream> stream(bytes);
      rapidjson::BaseReaderHandler<> nothing;
      constexpr unsigned kFlags = rapidjson::kParseIterativeFlag | rapidjson::kParseValidateEncodingFlag;
      require(rest.starts_with("{\"schema\":1,\"event_id\":") && reader_.Parse<kFlags>(stream, nothing));
      rest.remove_prefix(line.bytes);
    }
    require(rest.empty());
  }

  UniqueFd ring_;
  ScopedMmap memory_;
  std::string head_, tail_;
  rapidjson::Reader reader_;
  NativeSymbols symbols_{SymbolSettings{}};
  EventBatch::Tools tools_;
};

}  // namespace
}  // namespace watcher

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static watcher::Bench* const bench = new watcher::Bench;  // lives as long as the fuzzer
  bench->drain({reinterpret_cast<const char*>(data), size});
  return 0;
}
