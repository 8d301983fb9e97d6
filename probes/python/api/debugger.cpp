#include "probes/python/api/debugger.h"

#include <sys/syscall.h>
#include <unistd.h>

#include <optional>
#include <unordered_map>
#include <utility>

#include "probes/python/context/frames.h"
#include "probes/python/interpreter/compat.h"
#include "runtime/process/variable_filter.h"

namespace watcher::python {
namespace {

__attribute__((tls_model("initial-exec"))) constinit thread_local const void* asked_in = nullptr;  // a frame
__attribute__((tls_model("initial-exec"))) constinit thread_local bool in_debugger = false;
__attribute__((tls_model("initial-exec"))) constinit thread_local bool asked_for_later = false;

using Conditions = std::unordered_map<DictionaryRef, std::optional<Condition>>;
Conditions& conditions() {
  static auto* all = new Conditions;  // process-lifetime
  return *all;
}

ValueView view_of(const Value& value) {
  return {.kind = value.kind,
          .word = value.word,
          .bytes = {value.data, is_inline(value.kind) ? 0 : value.stored},
          .total = value.total,
          .type_name = value.type_name != 0 ? ring.dictionary().string(value.type_name) : std::string_view()};
}

bool holds(const Condition& condition, Op op, const Subject& subject, std::span<const PathStep> path,
           const Value& before, const Value& after) {
  EventView event;
  VariableBlob variable{};
  PlaceBlob place{};
  Dictionary& dictionary = ring.dictionary();
  if (dictionary.read(BlobKind::kVariable, subject.variable, &variable))
    event.variable_name = dictionary.string(variable.name);
  if (dictionary.read(BlobKind::kPlace, subject.place, &place)) {
    event.function = dictionary.string(place.function);
    event.file = dictionary.string(place.file);
    event.line = place.line;
  }
  event.op = op;
  event.scope = subject.scope;
  event.thread_id = thread_id();
  event.before = view_of(before);
  event.after = view_of(after);
  for (const PathStep& step : path)
    event.path.push_back(
        {.kind = step.kind, .value = step.index, .end = step.end, .text = {step.text, step.text_bytes}});
  const ConditionSubject change{&event, path_text(event.path)};
  return condition.test(condition_value, &change) != Condition::Verdict::kFalse;
}

}  // namespace

void break_at(DictionaryRef variable, std::string_view when) {
  if (variable == 0) return;
  const auto [found, fresh] = conditions().try_emplace(variable);
  if (!fresh) return;
  if (!when.empty())
    if (auto condition = Condition::compile(when); condition) found->second = std::move(condition.value());
  attention |= kBreaks;
}

void ask_for_break(Op op, const Subject& subject, std::span<const PathStep> path, const Value& before,
                   const Value& after) {
  if (in_debugger || op == Op::kInit || op == Op::kResumed) return;
  const auto found = conditions().find(subject.variable);
  if (found == conditions().end()) return;
  if (found->second && !holds(*found->second, op, subject, path, before, after)) return;
  asked_in = innermost_python_frame(thread_state());
}

bool break_asked() {
  if (asked_in == nullptr) return false;
  const bool here = asked_in == innermost_python_frame(thread_state());
  asked_in = nullptr;
  return here;
}

void break_later() {
  if (asked_in == nullptr) return;
  asked_in = nullptr;
  asked_for_later = true;
  const auto enter = [](void*) { return !later_break_asked() || enter_debugger() ? 0 : -1; };
  if (syscall(SYS_gettid) == getpid()) Py_AddPendingCall(enter, nullptr);
}

bool later_break_asked() {
  return std::exchange(asked_for_later, false);
}

bool enter_debugger() {
  PyObject* function = PySys_GetObject("breakpointhook");
  if (function == nullptr) return true;
  in_debugger = true;
  const Ref held = Ref::borrow(function);
  const Ref result(PyObject_CallObject(function, nullptr));
  in_debugger = false;
  return static_cast<bool>(result);
}

void enter_debugger_quietly() {
  KeepException keep;
  if (enter_debugger()) return;
  PyObject *type, *value, *traceback;
  PyErr_Fetch(&type, &value, &traceback);
  const Ref owned_type(type), owned_value(value), owned_traceback(traceback);
  PyThreadState_SetAsyncExc(PyThread_get_thread_ident(), type);
}

}  // namespace watcher::python
