#include "probes/python/context/sql_params.h"

#include <string.h>
#include <strings.h>

#include "probes/python/events/repr.h"
#include "probes/python/events/values.h"
#include "probes/python/interpreter/layout.h"

namespace watcher::python {
namespace {

constexpr std::string_view kHidden = "***";
constexpr std::size_t kMaxValues = 32;
constexpr int kMaxDepth = 3;  // executemany has rows, rows have values, a value may be an array

bool names_secret(std::string_view text) {
  static constexpr std::string_view kSecrets[] = {"passw",  "passphrase", "secret",      "token", "api_key",
                                                  "apikey", "credential", "private_key", "auth",  "ssn"};
  for (std::string_view secret : kSecrets)
    for (std::size_t at = 0; at + secret.size() <= text.size(); ++at)
      if (strncasecmp(text.data() + at, secret.data(), secret.size()) == 0) return true;
  return false;
}

void put_params(PyObject* params, BoundedText& text, bool hide, int depth);

void put_mapping(PyObject* params, BoundedText& text, bool hide, int depth) {
  ssize_t position = 0;
  PyObject *key, *value;
  std::size_t count = 0;
  text.put("{");
  while (PyDict_Next(params, &position, &key, &value) != 0 && !text.full()) {
    char name[128];
    const std::size_t length = write_repr(key, name, sizeof name);
    if (count++ > 0) text.put(", ");
    if (count > kMaxValues) {
      text.put("...");
      break;
    }
    text.put({name, length});
    text.put(": ");
    put_params(value, text, hide || names_secret({name, length}), depth + 1);
  }
  text.put("}");
}

void put_sequence(PyObject* params, BoundedText& text, bool hide, int depth) {
  const bool list = has_flag(params->type, kListSubclass);
  text.put(list ? "[" : "(");
  for (std::size_t i = 0; i < static_cast<std::size_t>(size_of(params)) && !text.full(); ++i) {
    if (i > 0) text.put(", ");
    if (i >= kMaxValues) {
      text.put("...");
      break;
    }
    put_params(list ? list_items(params)[i] : tuple_items(params)[i], text, hide, depth + 1);
  }
  text.put(list ? "]" : ")");
}

void put_params(PyObject* params, BoundedText& text, bool hide, int depth) {
  if (depth < kMaxDepth && has_flag(params->type, kDictSubclass)) return put_mapping(params, text, hide, depth);
  if (depth < kMaxDepth && (has_flag(params->type, kListSubclass) || has_flag(params->type, kTupleSubclass)))
    return put_sequence(params, text, hide, depth);
  if (hide) return text.put(kHidden);
  char value[256];
  text.put({value, write_repr(params, value, sizeof value)});
}

}  // namespace

std::size_t describe_params(std::string_view statement, PyObject* params, char (&room)[kMaxParamsBytes]) {
  BoundedText text(room, sizeof room);
  PyObject* row = params;  // executemany's first
  if (has_flag(params->type, kListSubclass) && size_of(params) > 0) row = list_items(params)[0];
  if (has_flag(params->type, kTupleSubclass) && size_of(params) > 0) row = tuple_items(params)[0];
  const bool keyed = has_flag(row->type, kDictSubclass);
  put_params(params, text, !keyed && names_secret(statement), 0);
  return text.finish();
}

}  // namespace watcher::python
