#include "probes/node/positions/code_map.h"

#include <sched.h>

#include <algorithm>
#include <atomic>
#include <map>
#include <memory>

#include "probes/node/positions/code_names.h"
#include "probes/node/positions/heap_words.h"
#include "probes/node/positions/own_positions.h"

namespace watcher::node {
namespace {

constexpr int kEnumerateExisting = 1;

constinit std::atomic<bool> locked{false};
constinit std::atomic<bool> inlining{true};
// changed under the lock; whoever has read it looks addresses up afterwards
constinit std::atomic<std::uint64_t> generation{0};

constinit const std::string* own_directory = nullptr;  // process-lifetime

using CodeMap = std::map<std::uintptr_t, std::unique_ptr<Code>>;
// Process-lifetime: V8 tells of code until the end.
CodeMap& codes() {
  static auto* map = new CodeMap;
  return *map;
}
/// Positions that came before the code they belong to, by its address.
struct WaitingPositions {
  bool bytecode;
  std::vector<CodePosition> positions;
};
auto& waiting_positions() {
  static auto* map = new std::map<std::uintptr_t, WaitingPositions>;
  return *map;
}
/// Global handles of scripts; each keeps its script alive.
auto& scripts() {
  static auto* map = new std::map<std::pair<void*, int>, void*>;
  return *map;
}

void drop_overlapping(std::uintptr_t start, std::size_t bytes) {
  auto at = codes().lower_bound(start);
  if (at != codes().begin()) {
    const auto before = std::prev(at);
    if (before->second->start + before->second->bytes > start) at = before;
  }
  while (at != codes().end() && at->first < start + bytes) at = codes().erase(at);
}

void* script_handle(void* isolate, void* script, int id) {
  void*& handle = scripts()[{isolate, id}];
  if (handle == nullptr) {
    handle = v8.globalize(isolate, script);
    v8.line_number(script, 0);  // makes the script's line table, which no fault handler could
  }
  return handle;
}

/// A position's script, of which a function is inlined.
int inlined_script(void* isolate, FunctionWord function) {
  if (function == 0) return -1;
  const int id = v8.script_id(&function);  // a handle is the address of such a word
  return scripts().contains({isolate, id}) ? id : -1;
}

void tell_owners(const JitCodeEvent& event, Code* code) {
  const std::vector<FunctionWord> functions =
      inlined_functions(code->start, *static_cast<FunctionWord*>(event.script), code->positions);
  for (std::size_t i = 0; i < functions.size(); ++i)
    code->positions[i].script_id = inlined_script(event.isolate, functions[i]);
}

void put_in_order(std::vector<CodePosition>* positions) {
  std::stable_sort(positions->begin(), positions->end(),
                   [](const CodePosition& a, const CodePosition& b) { return a.offset < b.offset; });
}

/// The same code may be told of twice: with and without its positions.
std::vector<CodePosition> take_positions(const Code& code) {
  const bool bytecode = code.tier == Tier::kBytecode;
  const auto waiting = waiting_positions().find(code.start);
  if (waiting != waiting_positions().end()) {
    const WaitingPositions found = std::move(waiting->second);
    waiting_positions().erase(waiting);
    if (found.bytecode == bytecode) return found.positions;
  }
  const auto known = codes().find(code.start);
  if (known == codes().end()) return {};
  Code& before = *known->second;
  const bool same = before.tier == code.tier && before.bytes == code.bytes && before.isolate == code.isolate &&
                    before.first_line == code.first_line && before.function == code.function &&
                    before.file == code.file;
  return same ? std::move(before.positions) : std::vector<CodePosition>{};
}

void add_code(const JitCodeEvent& event) {
  if (event.script == nullptr) {  // a builtin, a stub, a regular expression
    drop_overlapping(reinterpret_cast<std::uintptr_t>(event.code_start), event.code_bytes);
    return;
  }
  auto code = std::make_unique<Code>();
  CodeName name = parse_code_name({event.name.text, event.name.bytes});
  code->start = reinterpret_cast<std::uintptr_t>(event.code_start);
  code->bytes = event.code_bytes;
  code->isolate = event.isolate;
  code->tier = event.code_type == JitCodeEvent::kByteCode ? Tier::kBytecode
               : name.tier == Tier::kBytecode             ? Tier::kOptimised
                                                          : name.tier;
  code->inlining = code->tier >= Tier::kMaglev && (code->tier == Tier::kMaglev || has_inlined(code->start) ||
                                                   inlining.load(std::memory_order_relaxed));
  code->ours = own_directory != nullptr && name.file.starts_with(*own_directory);
  code->internal = code->ours || name.file.starts_with("node:");
  code->first_line = name.line;
  code->function = std::move(name.function);
  code->file = std::move(name.file);
  code->positions = take_positions(*code);
  if (code->tier == Tier::kMaglev && !code->internal) code->positions = maglev_positions(code->start, code->bytes);
  if (code->tier == Tier::kBytecode && !code->internal && code->positions.empty())
    code->positions = bytecode_positions(code->start, code->bytes);
  if (!code->internal && !code->file.empty()) {
    code->script_id = v8.script_id(event.script);
    code->script = script_handle(event.isolate, event.script, code->script_id);
    if (code->inlining) tell_owners(event, code.get());
  }
  drop_overlapping(code->start, code->bytes);
  codes()[code->start] = std::move(code);
}

void end_positions(const JitCodeEvent& event) {
  const std::unique_ptr<std::vector<CodePosition>> positions(static_cast<std::vector<CodePosition>*>(event.user_data));
  if (positions == nullptr) return;
  put_in_order(positions.get());
  const auto start = reinterpret_cast<std::uintptr_t>(event.code_start);
  const bool bytecode = event.code_type == JitCodeEvent::kByteCode;
  const auto known = codes().find(start);
  // bytecode can get its positions later; machine code that is known there is dead
  if (bytecode && known != codes().end() && known->second->tier == Tier::kBytecode && known->second->positions.empty())
    known->second->positions = std::move(*positions);
  else
    waiting_positions()[start] = {bytecode, std::move(*positions)};
}

void move_code(const JitCodeEvent& event) {
  const auto from = reinterpret_cast<std::uintptr_t>(event.code_start);
  const auto to = reinterpret_cast<std::uintptr_t>(event.new_start);
  if (auto waiting = waiting_positions().extract(from); !waiting.empty()) {
    waiting.key() = to;
    waiting_positions().erase(to);
    waiting_positions().insert(std::move(waiting));
  }
  auto node = codes().extract(from);
  if (node.empty()) return;
  node.key() = node.mapped()->start = to;
  drop_overlapping(to, node.mapped()->bytes);
  codes().insert(std::move(node));
}

void hear(const JitCodeEvent* event) {
  if (event->type == JitCodeEvent::kStartPositions) {
    const_cast<JitCodeEvent*>(event)->user_data = new std::vector<CodePosition>;
    return;
  }
  if (event->type == JitCodeEvent::kAddPosition) {
    if (auto* positions = static_cast<std::vector<CodePosition>*>(event->user_data))
      positions->push_back(
          {static_cast<std::uint32_t>(event->line.offset), static_cast<std::int32_t>(event->line.position)});
    return;
  }
  const CodeMapLock lock;
  if (event->type != JitCodeEvent::kEndPositions) generation.fetch_add(1, std::memory_order_release);
  if (event->type == JitCodeEvent::kAdded) add_code(*event);
  if (event->type == JitCodeEvent::kEndPositions) end_positions(*event);
  if (event->type == JitCodeEvent::kMoved) move_code(*event);
  if (event->type == JitCodeEvent::kRemoved) codes().erase(reinterpret_cast<std::uintptr_t>(event->code_start));
}

bool has_position(const Code& code, std::int32_t position) {
  return std::any_of(code.positions.begin(), code.positions.end(),
                     [position](const CodePosition& entry) { return entry.position == position; });
}

}  // namespace

CodeMapLock::CodeMapLock() {
  while (locked.exchange(true, std::memory_order_acquire))
    while (locked.load(std::memory_order_relaxed)) sched_yield();
}

CodeMapLock::~CodeMapLock() {
  locked.store(false, std::memory_order_release);
}

void renew_code_map_lock() {
  locked.store(false, std::memory_order_release);
}

bool listen_to_code() {
  if (!load_v8_api()) return false;
  void* isolate = v8.current_isolate();
  if (isolate == nullptr) return false;
  heap_layout();  // the first call is no fault handler's
  v8.listen(isolate, kEnumerateExisting, hear);
  return true;
}

void set_own_directory(const std::string& directory) {
  own_directory = new std::string(directory + "/");
}

void forget_isolate() {
  if (v8.current_isolate == nullptr) return;
  void* isolate = v8.current_isolate();
  v8.listen(isolate, 0, nullptr);
  const CodeMapLock lock;
  std::erase_if(codes(), [isolate](const auto& entry) { return entry.second->isolate == isolate; });
  std::erase_if(scripts(), [isolate](const auto& entry) { return entry.first.first == isolate; });
}

std::uint64_t code_generation() {
  return generation.load(std::memory_order_acquire);
}

void expect_no_inlining() {
  inlining.store(false, std::memory_order_relaxed);
}

Code* find_code(std::uintptr_t address) {
  auto at = codes().upper_bound(address);
  if (at == codes().begin()) return nullptr;
  Code* code = (--at)->second.get();
  return address - code->start < code->bytes ? code : nullptr;
}

Owner find_owner(const Code& code, const CodePosition& entry) {
  const bool told = entry.script_id >= 0;
  const Code* own = nullptr;
  const Code* other = nullptr;
  int owners = 0;
  for (const auto& [start, candidate] : codes()) {
    if (candidate->tier != Tier::kBytecode || candidate->isolate != code.isolate || candidate->script == nullptr)
      continue;
    if (told && candidate->script_id != entry.script_id) continue;
    if (!has_position(*candidate, entry.position)) continue;
    ++owners;
    if (candidate->script_id == code.script_id && candidate->function == code.function)
      own = candidate.get();
    else
      other = candidate.get();
  }
  return {own != nullptr ? own : other != nullptr ? other : &code, told ? owners > 0 : owners == 1};
}

}  // namespace watcher::node
