#include "probes/node/context/sql.h"

#include <mutex>

#include "probes/node/addon.h"
#include "probes/node/events/emit.h"
#include "probes/node/events/values.h"
#include "probes/node/host/napi_values.h"
#include "probes/sql_statements.h"

namespace watcher::node {
namespace {

constexpr std::size_t kMaxParamsBytes = 1024;

/// sqlStatement(driver, text, database, params): a reference for setSql(); params and database may be ''.
napi_value make_statement(napi_env env, napi_callback_info info) {
  static constinit std::mutex lock;  // workers share the table of statements
  const Arguments<4> arguments(env, info);
  if (!ensure_session()) return make_number(env, 0);
  std::string text, params;
  const std::string driver = text_of(env, arguments.values[0]);
  const std::uint64_t total = read_text(env, arguments.values[1], kMaxStatementBytes, &text);
  const std::string database = text_of(env, arguments.values[2]);
  read_text(env, arguments.values[3], kMaxParamsBytes, &params);
  const std::lock_guard<std::mutex> guard(lock);
  return make_number(env, intern_sql(ring, {.driver = driver,
                                            .statement = text,
                                            .database = intern_sql_database(ring, database),
                                            .params = params,
                                            .cut = total > text.size()}));
}

/// setSql(statement): what this thread executes from now on; 0: nothing.
napi_value set_sql(napi_env env, napi_callback_info info) {
  const Arguments<1> arguments(env, info);
  context_parts().sql = static_cast<DictionaryRef>(number_of(env, arguments.values[0]));
  renew_thread_context();
  return nullptr;
}

/// setTask(id): the asynchronous call that this thread runs.
napi_value set_running_task(napi_env env, napi_callback_info info) {
  const Arguments<1> arguments(env, info);
  set_task(static_cast<std::uint64_t>(number_of(env, arguments.values[0])));
  return nullptr;
}

std::uint32_t span_of_writer(void* span, std::uint32_t* known) {
  *static_cast<SpanBlob*>(span) = thread_span();
  *known = thread_span().known;
  return 0;
}

/// spanBytes(): the thread's SpanBlob as an ArrayBuffer, to be written to; undefined without a session.
napi_value give_span_bytes(napi_env env, napi_callback_info) {
  if (!ensure_session()) return nullptr;
  runtime->memory_spans(span_of_writer);
  napi_value bytes = nullptr;
  napi_create_external_arraybuffer(env, &thread_span(), sizeof(SpanBlob), nullptr, nullptr, &bytes);
  return bytes;
}

}  // namespace

void add_sql(napi_env env, napi_value binding) {
  static constexpr BindingFunction kFunctions[] = {{"sqlStatement", make_statement},
                                                   {"setSql", set_sql},
                                                   {"setTask", set_running_task},
                                                   {"spanBytes", give_span_bytes}};
  add_functions(env, binding, kFunctions);
}

}  // namespace watcher::node
