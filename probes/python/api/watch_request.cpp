#include "probes/python/api/watch_request.h"

#include <strings.h>

#include <list>
#include <string_view>

#include "probes/python/events/emit.h"
#include "probes/python/interpreter/compat.h"

namespace watcher::python {
namespace {

std::list<WatchRequest>& requests() {
  static auto* all = new std::list<WatchRequest>;  // process-lifetime
  return *all;
}

enum Parameter : int {
  kValue,
  kName,
  kTrackThreads,
  kTrackLocals,
  kTrackSql,
  kMutationDepth,
  kScope,
  kWhen,
  kProxy,
  kOnChange,
  kParameters
};
constexpr const char* kNames[kParameters] = {"value",          "name",  "track_threads", "track_locals", "track_sql",
                                             "mutation_depth", "scope", "when",          "proxy",        "on_change"};
constexpr ssize_t kPositional = 2;

struct Call {
  const char* function;
  PyObject* given[kParameters];
};

bool read_arguments(Call* call, PyObject* const* args, ssize_t count, PyObject* keywords) {
  if (count > kPositional) {
    PyErr_Format(PyExc_TypeError, "%s() takes at most 2 positional arguments (%zd given)", call->function, count);
    return false;
  }
  for (ssize_t i = 0; i < count; ++i) call->given[i] = args[i];
  for (ssize_t i = 0; keywords != nullptr && i < size_of(keywords); ++i) {
    PyObject* keyword = tuple_items(keywords)[i];
    int at = 0;
    while (at < kParameters && PyUnicode_CompareWithASCIIString(keyword, kNames[at]) != 0) ++at;
    if (at == kParameters) {
      PyErr_Format(PyExc_TypeError, "%s() got an unexpected keyword argument '%U'", call->function, keyword);
      return false;
    }
    if (call->given[at] != nullptr) {
      PyErr_Format(PyExc_TypeError, "%s() got multiple values for argument '%U'", call->function, keyword);
      return false;
    }
    call->given[at] = args[count + i];
  }
  if (call->given[kValue] != nullptr) return true;
  PyErr_Format(PyExc_TypeError, "%s() missing 1 required positional argument: 'value'", call->function);
  return false;
}

bool wrong_type(const Call& call, Parameter parameter, const char* right) {
  PyErr_Format(PyExc_TypeError, "%s() argument '%s' must be %s, not %s", call.function, kNames[parameter], right,
               type_name(call.given[parameter]->type));
  return false;
}

bool wrong_value(const Call& call, Parameter parameter, const char* right) {
  PyErr_Format(PyExc_ValueError, "%s() argument '%s' must be %s, not %R", call.function, kNames[parameter], right,
               call.given[parameter]);
  return false;
}

bool is_absent(const Call& call, Parameter parameter) {
  return call.given[parameter] == nullptr || call.given[parameter] == &_Py_NoneStruct;
}

bool read_text(const Call& call, Parameter parameter, const char* right, std::string* out) {
  if (is_absent(call, parameter)) return true;
  if (call.given[parameter]->type != &PyUnicode_Type) return wrong_type(call, parameter, right);
  ssize_t size = 0;
  const char* text = PyUnicode_AsUTF8AndSize(call.given[parameter], &size);
  if (text == nullptr) return false;
  out->assign(text, static_cast<std::size_t>(size));
  return true;
}

/// True, False, None, 0 and 1; no code of the host's is asked.
bool read_flag(const Call& call, Parameter parameter, bool* out) {
  if (is_absent(call, parameter)) return true;
  const Value flag = encode(call.given[parameter], scratch_before);
  if ((flag.kind != ValueKind::kBool && flag.kind != ValueKind::kInt) || flag.word > 1)
    return wrong_type(call, parameter, "True or False");
  *out = flag.word == 1;
  return true;
}

bool read_depth(const Call& call, std::uint32_t* out) {
  constexpr const char* kRight = "'FULL' or a number of bytes from 1 to 4294967295";
  PyObject* depth = call.given[kMutationDepth];
  if (is_absent(call, kMutationDepth)) return true;
  if (depth->type == &PyUnicode_Type) {
    std::string text;
    if (!read_text(call, kMutationDepth, kRight, &text)) return false;
    return strcasecmp(text.c_str(), "FULL") == 0 || wrong_value(call, kMutationDepth, kRight);
  }
  if (depth->type != &PyLong_Type) return wrong_type(call, kMutationDepth, kRight);
  int overflow = 0;
  const long long bytes = PyLong_AsLongLongAndOverflow(depth, &overflow);
  if (overflow != 0 || bytes < 1 || bytes > 0xffffffffll) return wrong_value(call, kMutationDepth, kRight);
  *out = static_cast<std::uint32_t>(bytes);
  return true;
}

bool read_scope(const Call& call, WatchRequest* out) {
  constexpr const char* kRight = "'local', 'global', 'both' or 'unknown'";
  constexpr std::string_view kScopes[] = {"unknown", "local", "global", "both"};
  if (is_absent(call, kScope)) return true;
  std::string text;
  if (!read_text(call, kScope, kRight, &text)) return false;
  for (std::size_t i = 0; i < std::size(kScopes); ++i) {
    if (text != kScopes[i]) continue;
    out->scope = static_cast<Scope>(i);
    out->scoped = true;
    return true;
  }
  return wrong_value(call, kScope, kRight);
}

bool read_condition(const Call& call, std::string* out) {
  if (!read_text(call, kWhen, "a condition such as \"new > 100 and old <= 100\"", out)) return false;
  if (is_absent(call, kWhen)) return true;
  const char* fault = out->find('\0') != out->npos ? "it holds a zero byte" : runtime->condition_fault(out->c_str());
  if (fault == nullptr) return true;
  PyErr_Format(PyExc_ValueError, "%s() argument 'when' is no condition: %s", call.function, fault);
  return false;
}

bool read_reaction(const Call& call, bool* breaks) {
  constexpr const char* kRight = "'record' or 'break'";
  std::string text = "record";
  if (!read_text(call, kOnChange, kRight, &text)) return false;
  *breaks = text == "break";
  return *breaks || text == "record" || wrong_value(call, kOnChange, kRight);
}

}  // namespace

const WatchRequest* keep_request(const WatchRequest& request) {
  for (const WatchRequest& known : requests())
    if (known == request) return &known;
  return &requests().emplace_front(request);
}

void forget_request(const WatchRequest* request) {
  requests().remove_if([request](const WatchRequest& known) { return &known == request; });
}

bool parse_request(const char* function, PyObject* const* args, ssize_t count, PyObject* keywords, PyObject** value,
                   bool* proxy, WatchRequest* request) {
  Call call{function, {}};
  if (!read_arguments(&call, args, count, keywords)) return false;
  *value = call.given[kValue];
  return read_text(call, kName, "str", &request->name) && read_flag(call, kTrackThreads, &request->threads) &&
         read_flag(call, kTrackLocals, &request->locals) && read_flag(call, kTrackSql, &request->sql) &&
         read_depth(call, &request->mutation_depth) && read_scope(call, request) &&
         read_condition(call, &request->when) && read_flag(call, kProxy, proxy) &&
         read_reaction(call, &request->breaks);
}

}  // namespace watcher::python
