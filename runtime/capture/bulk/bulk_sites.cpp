#include "runtime/capture/bulk/bulk_sites.h"

#include <atomic>

namespace watcher {
namespace {

constexpr std::size_t kSites = 4096;
constexpr std::uint64_t kScoreMask = 0xff;
constexpr std::int8_t kSure = 3;
constexpr std::int8_t kDisappointment = 2;
constexpr std::uint32_t kVectorBytes = 16;

/// The site, but for its lowest byte: a signed score. 0: nothing learnt.
constinit std::atomic<std::uint64_t> sites[kSites] = {};

std::atomic<std::uint64_t>& entry_of(BulkSite site) {
  return sites[site >> 52];
}

std::int8_t score_of(BulkSite site) {
  const std::uint64_t entry = entry_of(site).load(std::memory_order_relaxed);
  return (entry & ~kScoreMask) == (site & ~kScoreMask) ? static_cast<std::int8_t>(entry & kScoreMask) : std::int8_t{0};
}

}  // namespace

BulkSite bulk_site(std::uintptr_t ip, DictionaryRef place) {
  return (ip * 0x9e3779b97f4a7c15u ^ place) * 0xff51afd7ed558ccdu;
}

bool expects_bulk(BulkSite site, const StoreForm& form, bool continues) {
  const std::int8_t score = score_of(site);
  if (score != 0) return score > 0;
  return continues || (form.kind == StoreKind::kOperand && form.bytes >= kVectorBytes && form.in_loop);
}

void learn_bulk(BulkSite site, bool was_bulk) {
  const int score = was_bulk ? kSure : score_of(site) - kDisappointment;
  const auto kept = static_cast<std::uint8_t>(score < -kSure ? -kSure : score);
  entry_of(site).store((site & ~kScoreMask) | kept, std::memory_order_relaxed);
}

}  // namespace watcher
