#include "supervisor/control_server.h"

#include <grp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>

#include <nlohmann/json.hpp>

#include "common/log.h"

namespace dongle {
namespace {

constexpr std::size_t kMaxClients = 64;
constexpr std::size_t kMaxRequest = 64 * 1024;
constexpr int kRequestsAtATime = 16;
constexpr std::size_t kMaxUnread = 4 * 1024 * 1024;

}  // namespace

struct ControlServer::Call::Client {
  UniqueFd fd;
  std::string input;
  std::string output;
  bool busy = false;     // a request is under way; the next waits in `input`
  bool closing = false;  // answered for the last time: goes when the output is gone
  bool dead = false;
  std::unique_ptr<Poll> poll;
  std::unique_ptr<Timer> next_request;  // takes what waits in `input`, from the loop
  std::function<void()> take_next;

  // What was sent in vain isn't kept, and the descriptor reports itself readable, which removes the client.
  void cut_off() {
    dead = true;
    output = {};
    shutdown(fd.get(), SHUT_RDWR);
  }

  void send_line(const Json& line) {
    if (dead) return;
    output += dump_json(line);
    output += '\n';
    if (output.size() > kMaxUnread) {
      log_event(LogEvent::control_client_cut_off, {{"reason", "it doesn't read its answers"}});
      return cut_off();
    }
    flush(*this);
  }
};

ControlServer::Call::~Call() {
  if (!answered_)
    reply_error("cancelled", "given up: the dongle was stopped or taken out of the configuration meanwhile");
}

void ControlServer::Call::progress(const std::string& text) {
  if (auto client = client_.lock(); client && !answered_) client->send_line({{"progress", text}});
}

void ControlServer::Call::event(const std::string& name, const Json& result) {
  if (auto client = client_.lock(); client && !answered_) client->send_line({{"event", name}, {"result", result}});
}

void ControlServer::Call::reply(const Json& result) {
  answer({{"ok", true}, {"result", result}});
}

void ControlServer::Call::reply_error(const std::string& code, const std::string& message, const Json& more) {
  Json error = {{"code", code}, {"message", message}};
  if (more.is_object()) error.update(more);
  answer({{"ok", false}, {"error", error}});
}

void ControlServer::Call::answer(const Json& line) {
  auto client = client_.lock();
  if (!client || std::exchange(answered_, true)) return;
  client->busy = false;
  client->send_line(line);
  // Not from here: who answers is in the middle of something, and thousands of requests may wait.
  if (!client->input.empty()) client->next_request->start(Millis{0}, client->take_next);
}

bool ControlServer::Call::is_connected() const {
  auto client = client_.lock();
  return client && !client->dead;
}

Result<std::unique_ptr<ControlServer>> ControlServer::listen(UvLoop& loop, const std::string& path, Handler handler) {
  const group* g = getgrnam("dongle");
  auto fd = listen_unix(path, SOCK_STREAM, 0660, g ? g->gr_gid : static_cast<gid_t>(-1), 64);
  if (!fd) return std::unexpected(std::move(fd).error());
  return std::unique_ptr<ControlServer>(new ControlServer(loop, std::move(*fd), path, std::move(handler)));
}

ControlServer::ControlServer(UvLoop& loop, UniqueFd listener, std::string path, Handler handler)
    : loop_(loop),
      path_(std::move(path)),
      handler_(std::move(handler)),
      acceptor_(loop, std::move(listener), [this](UniqueFd client) { welcome(std::move(client)); }) {}

ControlServer::~ControlServer() {
  unlink(path_.c_str());
}

void ControlServer::welcome(UniqueFd fd) {
  if (clients_.size() >= kMaxClients) {
    static constexpr std::string_view kFull =
        "{\"ok\":false,\"error\":{\"code\":\"busy\",\"message\":\"too many control connections\"}}\n";
    (void)!send(fd.get(), kFull.data(), kFull.size(), MSG_NOSIGNAL);
    return;
  }
  auto client = std::make_shared<Call::Client>();
  client->fd = std::move(fd);
  std::weak_ptr<Call::Client> weak = client;
  client->next_request = std::make_unique<Timer>(loop_);
  client->take_next = [this, weak] {
    if (auto c = weak.lock()) take_requests(c);
  };
  client->poll = std::make_unique<Poll>(loop_, client->fd.get(), UV_READABLE, [this, weak](int, int events) {
    if (auto c = weak.lock()) on_ready(c, events);
  });
  clients_.push_back(std::move(client));
}

void ControlServer::on_ready(const std::shared_ptr<Call::Client>& client, int) {
  flush(*client);
  char buffer[16 * 1024];
  for (int i = 0; i < 8 && !client->dead && !client->closing; ++i) {
    ssize_t n = recv(client->fd.get(), buffer, sizeof buffer, 0);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) break;
    if (n <= 0) {
      client->dead = true;
      break;
    }
    client->input.append(buffer, static_cast<std::size_t>(n));
    take_requests(client);
    if (!client->closing && client->input.size() > kMaxRequest) {
      client->closing = true;
      client->send_line(
          {{"ok", false}, {"error", {{"code", "invalid_request"}, {"message", "a request line is at most 64 KiB"}}}});
    }
  }
  if (client->dead || (client->closing && client->output.empty())) {
    clients_.remove(client);
    return;
  }
  client->poll->set_events((client->closing ? 0 : UV_READABLE) | (client->output.empty() ? 0 : UV_WRITABLE));
}

void ControlServer::take_requests(const std::shared_ptr<Call::Client>& client) {
  for (int i = 0; !client->busy && !client->dead && !client->closing; ++i) {
    // Others want to be served, too; libuv runs a timer without delay before it looks at them.
    if (i == kRequestsAtATime) return client->next_request->start(Millis{1}, client->take_next);
    auto end = client->input.find('\n');
    if (end == std::string::npos) return;
    std::string line = client->input.substr(0, end);
    client->input.erase(0, end + 1);
    if (line.find_first_not_of(" \t\r") == std::string::npos) continue;
    auto call = std::make_shared<Call>();
    call->client_ = client;
    client->busy = true;
    auto request = parse_json(line);
    if (!request || !request->is_object() || json_string(*request, "verb").empty())
      call->reply_error("invalid_request",
                        request ? "a request is an object with a \"verb\"" : request.error().message());
    else
      handler_(*request, call);
  }
}

void ControlServer::flush(Call::Client& client) {
  while (!client.output.empty() && !client.dead) {
    ssize_t n = send(client.fd.get(), client.output.data(), client.output.size(), MSG_NOSIGNAL);
    if (n > 0) {
      client.output.erase(0, static_cast<std::size_t>(n));
    } else if (n < 0 && errno == EAGAIN) {
      client.poll->set_events(UV_READABLE | UV_WRITABLE);
      return;
    } else if (n < 0 && errno != EINTR) {
      client.cut_off();
    }
  }
}

}  // namespace dongle
