// What our JavaScript gets from us: process._linkedBinding('watcher'), one instance for each thread that runs
// JavaScript.
#pragma once

#include <node/node_api.h>

#include <cstddef>

#include <string>

namespace watcher::node {

/// Registers the addon with node, which may not run yet. `own`: what we put in front of NODE_OPTIONS, and a space where
/// the user has some.
void offer_addon(const std::string& own);

/// Adds functions to the binding: one list a part.
struct BindingFunction {
  const char* name;
  napi_callback function;
};
template <std::size_t kCount>
void add_functions(napi_env env, napi_value binding, const BindingFunction (&functions)[kCount]) {
  for (const BindingFunction& row : functions) {
    napi_value function;
    if (napi_create_function(env, row.name, NAPI_AUTO_LENGTH, row.function, nullptr, &function) == napi_ok)
      napi_set_named_property(env, binding, row.name, function);
  }
}

}  // namespace watcher::node
