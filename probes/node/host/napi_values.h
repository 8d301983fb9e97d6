// Arguments and results of the binding's functions.
#pragma once

#include <node/node_api.h>

#include <cstdint>
#include <string>
#include <string_view>

namespace watcher::node {

template <std::size_t kCount>
struct Arguments {
  napi_value values[kCount] = {};
  std::size_t count = kCount;

  Arguments(napi_env env, napi_callback_info info) {
    if (napi_get_cb_info(env, info, &count, values, nullptr, nullptr) != napi_ok) count = 0;
  }
};

inline std::string text_of(napi_env env, napi_value value) {
  std::size_t bytes = 0;
  if (value == nullptr || napi_get_value_string_utf8(env, value, nullptr, 0, &bytes) != napi_ok) return {};
  std::string text(bytes, '\0');
  napi_get_value_string_utf8(env, value, text.data(), bytes + 1, &bytes);
  return text;
}

inline double number_of(napi_env env, napi_value value, double otherwise = 0) {
  double number = otherwise;
  if (value == nullptr || napi_get_value_double(env, value, &number) != napi_ok) return otherwise;
  return number;
}

inline napi_value make_number(napi_env env, double number) {
  napi_value value = nullptr;
  napi_create_double(env, number, &value);
  return value;
}

inline napi_value make_text(napi_env env, std::string_view text) {
  napi_value value = nullptr;
  napi_create_string_utf8(env, text.data(), text.size(), &value);
  return value;
}

inline napi_value make_bool(napi_env env, bool flag) {
  napi_value value = nullptr;
  napi_get_boolean(env, flag, &value);
  return value;
}

}  // namespace watcher::node
