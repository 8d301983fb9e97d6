// The text of summary.json, to and from RunTotals.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "runtime/output/summary.h"

namespace watcher {

std::string summary_text(std::uint64_t run_id, const RunTotals& totals);

/// False when the text is no summary, or one of another run (`run_id` 0: any run's is read); then `totals` is
/// untouched.
bool parse_summary(std::string_view text, std::uint64_t run_id, RunTotals* totals);

/// Of which run the text is the summary; 0: of none.
std::uint64_t run_of_summary(std::string_view text);

}  // namespace watcher
