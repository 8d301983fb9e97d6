// watcher why: the history of a variable. Who set this value, who was the last, what did it hold then?
#include <unistd.h>

#include <cstdio>
#include <deque>
#include <map>

#include "tools/recorded-events.h"
#include "tools/watcher-commands.h"

namespace watcher {
namespace {

/// What is kept of one variable's events.
struct History {
  std::string name;
  std::string scope;
  std::string file;
  std::uint64_t changes = 0;
  std::deque<std::string> lines;  // the last ones
  std::string answer;             // the event that was asked for
  std::string answer_value;
  std::string answer_where;
};

class Historian {
 public:
  Historian(const WhyRequest& request, std::uint64_t until, const Painter& paint)
      : request_(request), until_(until), paint_(paint) {}

  void see(const RecordedEvent& event) {
    if (!fits(request_.name, event.text("variable_name")) && request_.name != event.text("variable_id")) return;
    if (event.number("timestamp_ns") > until_) return;
    History& history = histories_[std::string(event.text("variable_id"))];
    if (history.changes++ == 0) introduce(history, event);
    history.lines.push_back(show_event(event, paint_));
    if (history.lines.size() > request_.lines) history.lines.pop_front();
    if (!request_.has_value || is_value(event)) answer(history, event);
  }

  /// Returns how many variables had an answer.
  std::size_t tell() const {
    std::size_t answered = 0;
    for (const auto& [id, history] : histories_) {
      tell_of(history);
      answered += !history.answer.empty();
    }
    return answered;
  }
  bool knows_name() const { return !histories_.empty(); }

 private:
  bool is_value(const RecordedEvent& event) const {
    return event.bare_value("after") == request_.value || event.value("after") == request_.value;
  }

  static void introduce(History& history, const RecordedEvent& event) {
    history.name = safe_text(event.text("variable_name"));
    history.scope = safe_text(event.text("scope"));
    history.file = safe_text(event.text("file"));
  }

  void answer(History& history, const RecordedEvent& event) const {
    history.answer = show_event(event, paint_);
    history.answer_value = shortened(safe_text(event.value("after")), 120);
    history.answer_where = safe_text(event.where());
  }

  void tell_of(const History& history) const {
    std::printf("%s (%s%s%s): %llu change%s\n", paint_(Colour::kName, history.name).c_str(), history.scope.c_str(),
                history.file.empty() ? "" : ", ", history.file.c_str(),
                static_cast<unsigned long long>(history.changes), history.changes == 1 ? "" : "s");
    if (history.lines.size() < history.changes)
      std::printf("  … %llu earlier ones; --lines shows more\n",
                  static_cast<unsigned long long>(history.changes - history.lines.size()));
    for (const std::string& line : history.lines) std::printf("  %s\n", line.c_str());
    std::printf("%s\n", conclusion(history).c_str());
  }

  std::string conclusion(const History& history) const {
    const std::string value = paint_(Colour::kAfter, history.answer_value);
    const std::string where = paint_(Colour::kPlace, history.answer_where);
    if (history.answer.empty()) return "It was never set to " + safe_text(request_.value) + ".";
    if (request_.has_value) return "Last set to " + value + " by " + where + ":\n  " + history.answer;
    if (!request_.at.empty()) return "At that time it held " + value + ", set by " + where + ":\n  " + history.answer;
    return "It holds " + value + ", set last by " + where + ".";
  }

  const WhyRequest& request_;
  std::uint64_t until_;
  const Painter& paint_;
  std::map<std::string, History> histories_;  // by variable_id
};

}  // namespace

int show_why(const WhyRequest& request) {
  std::uint64_t until = ~std::uint64_t{0};
  if (!request.at.empty()) {
    const auto moment = parse_moment(request.at);
    if (!moment) return complain_and_return(kMistake, "--at: " + moment.error().message);
    until = moment.value();
  }
  const Painter paint = Painter::choose(request.colour, STDOUT_FILENO);
  Historian historian(request, until, paint);
  const auto read = read_events(request.directory, false, [&](const RecordedEvent& event) {
    historian.see(event);
    return true;
  });
  if (!read) return complain_and_return(kMistake, read.error().message);
  if (!historian.knows_name())
    return complain_and_return(kNothing, "no change of '" + safe_text(request.name) + "' is recorded in " +
                                             request.directory + (request.at.empty() ? "" : " up to that time"));
  return historian.tell() > 0 ? kFine : kNothing;
}

}  // namespace watcher
