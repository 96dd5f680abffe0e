#include "supervisor/modem_actions.h"

#include <nlohmann/json.hpp>

#include "common/log.h"

namespace dongle {
namespace {

// A switch that was turned off must come on again: a busy or slow API gets this many tries.
constexpr int kTries = 3;
constexpr Millis kBetweenTries = Seconds(2);
// How long the other network mode stays, so that the network notices; farms use 3 s.
constexpr Millis kOtherModeTime = Seconds(3);

Json intent_of(const NetMode& mode) {
  return {{"undo", "network_mode"}, {"mode", mode.mode}, {"band", mode.band}, {"lte_band", mode.lte_band}};
}

}  // namespace

ModemActions::ModemActions(UvLoop& loop, HilinkClient& client, IntentLog& intents, DongleId id)
    : client_(client), intents_(intents), id_(id), timer_(loop) {}

void ModemActions::cancel() {
  ++*run_;
  timer_.stop();
  done_ = nullptr;
}

void ModemActions::finish(Result<std::string> outcome) {
  auto done = std::move(done_);
  cancel();
  done(std::move(outcome));
}

void ModemActions::begin(Done done, std::function<void()> act) {
  cancel();
  done_ = std::move(done);
  // There is room for one intent: a new one would make us forget the old one.
  undo([this, act = std::move(act)](Result<std::string> undone) {
    if (!undone) return finish(std::move(undone));
    act();
  });
}

void ModemActions::cycle_data_switch(Millis off_time, Done done) {
  begin(std::move(done), [this, off_time] { switch_off_and_on(off_time); });
}

void ModemActions::switch_off_and_on(Millis off_time) {
  intents_.record(id_, {{"undo", "data_switch_on"}}, guard([this, off_time] {
                    client_.set_data_switch(
                        false, guard([this, off_time](Result<void> off) {
                          if (!off) {
                            // Not known to be off, so there is nothing to undo unless the answer was lost: switching on
                            // does no harm.
                            bool lost = off.error().code == Errc::Timeout;
                            if (!lost) intents_.clear(id_);
                            return finish(wrap(off.error(), "mobile data off"));
                          }
                          timer_.start(off_time, [this, off_time] {
                            switch_on(kTries, "mobile data off for " + format_duration(off_time) + " and on again");
                          });
                        }));
                  }));
}

void ModemActions::switch_on(int tries_left, const std::string& detail) {
  client_.set_data_switch(true, guard([this, tries_left, detail](Result<void> on) {
                            if (on) {
                              intents_.clear(id_);
                              return finish(detail);
                            }
                            if (tries_left <= 1) return finish(wrap(on.error(), "mobile data on"));
                            timer_.start(kBetweenTries,
                                         [this, tries_left, detail] { switch_on(tries_left - 1, detail); });
                          }));
}

void ModemActions::cycle_network_mode(Done done) {
  begin(std::move(done), [this] { change_mode_and_back(); });
}

void ModemActions::change_mode_and_back() {
  client_.read_net_mode(guard([this](Result<NetMode> current) {
    if (!current) return finish(wrap(current.error(), "read the network mode"));
    NetMode home = *current, away = *current;
    away.mode = home.mode == "00" ? "03" : "00";
    intents_.record(id_, intent_of(home), guard([this, home, away] {
                      set_mode(away, 1, [this, home, away](Result<void> left) {
                        if (!left) {
                          bool lost = left.error().code == Errc::Timeout;
                          if (!lost) intents_.clear(id_);
                          return finish(wrap(left.error(), "network mode {}", away.mode));
                        }
                        timer_.start(kOtherModeTime, [this, home, away] {
                          set_mode(home, kTries, [this, home, away](Result<void> back) {
                            if (!back) return finish(wrap(back.error(), "network mode back to {}", home.mode));
                            intents_.clear(id_);
                            finish("network mode " + home.mode + " to " + away.mode + " and back");
                          });
                        });
                      });
                    }));
  }));
}

void ModemActions::set_mode(const NetMode& mode, int tries_left, std::function<void(Result<void>)> then) {
  client_.set_net_mode(mode, guard([this, mode, tries_left, then](Result<void> set) {
                         if (set || tries_left <= 1) return then(std::move(set));
                         timer_.start(kBetweenTries,
                                      [this, mode, tries_left, then] { set_mode(mode, tries_left - 1, then); });
                       }));
}

void ModemActions::reboot(Done done) {
  begin(std::move(done), [this] {
    client_.reboot(guard([this](Result<void> accepted) {
      if (!accepted) return finish(wrap(accepted.error(), "reboot"));
      finish(std::string("the modem reboots"));
    }));
  });
}

void ModemActions::undo_pending(Done done) {
  if (!intents_.pending(id_)) return done(std::string());
  cancel();
  done_ = std::move(done);
  undo([this](Result<std::string> undone) { finish(std::move(undone)); });
}

void ModemActions::undo(std::function<void(Result<std::string>)> then) {
  auto intent = intents_.pending(id_);
  if (!intent) return then(std::string());
  if (json_string(*intent, "undo") == "network_mode") {
    NetMode home{json_string(*intent, "mode"), json_string(*intent, "band"), json_string(*intent, "lte_band")};
    set_mode(home, 1, [this, home, then = std::move(then)](Result<void> back) {
      if (!back) return then(wrap(back.error(), "undo: network mode back to {}", home.mode));
      intents_.clear(id_);
      then("undone: network mode back to " + home.mode);
    });
  } else {
    client_.set_data_switch(true, guard([this, then = std::move(then)](Result<void> on) {
                              if (!on) return then(wrap(on.error(), "undo: mobile data on"));
                              intents_.clear(id_);
                              then(std::string("undone: mobile data on again"));
                            }));
  }
}

}  // namespace dongle
