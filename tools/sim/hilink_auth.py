"""HiLink sessions, tokens and logins. Pure but for the random source and the clock, which are passed in."""
import base64
import hashlib
import hmac
from dataclasses import dataclass, field

MAX_TOKENS = 40
MAX_SESSIONS = 32
SESSION_IDLE = 600.0
SCRAM_ITERATIONS = 100
LOGIN_TRIES = 3


@dataclass(frozen=True)
class Firmware:
    home_cookie: bool = False           # GET / opens a session
    home_tokens: int = 0                # csrf_token metas in the page
    token_path: bool = False            # /api/webserver/token
    session_info: str = ""              # /api/webserver/SesTokInfo: "" | "prefixed" | "bare"
    needs_token: bool = True
    wrong_token: int = 125001
    after_login: str = "pair"           # tokens in the login's answer: "pair" | "pool" | "single"
    content_type: str = "text/xml"
    unknown_redirects: bool = False     # an unknown path leads to the home page instead of 100002
    has_login: bool = True


FIRMWARE = {
    "classic": Firmware(session_info="prefixed", content_type="text/html"),
    "bare": Firmware(session_info="bare", wrong_token=125003),
    "webui17": Firmware(home_cookie=True, home_tokens=2, wrong_token=125003, after_login="pool"),
    "token": Firmware(home_cookie=True, token_path=True, after_login="single", unknown_redirects=True),
    "old": Firmware(needs_token=False, has_login=False, content_type="text/html"),
}


def b64(raw):
    return base64.b64encode(raw).decode()


def sha256_password(username, password, token):
    inner = b64(hashlib.sha256(password.encode()).hexdigest().encode())
    return b64(hashlib.sha256((username + inner + token).encode()).hexdigest().encode())


def plain_password(password):
    return b64(password.encode())


def _hmac(key, message):
    return hmac.new(key, message, hashlib.sha256).digest()


def scram_salted(password, salt_hex, iterations):
    return hashlib.pbkdf2_hmac("sha256", password.encode(), bytes.fromhex(salt_hex), iterations, 32)


def scram_proof(password, first_nonce, server_nonce, salt_hex, iterations):
    # Key and message are swapped against RFC 5802, as the modems have it.
    client_key = _hmac(b"Client Key", scram_salted(password, salt_hex, iterations))
    stored_key = hashlib.sha256(client_key).digest()
    signature = _hmac(f"{first_nonce},{server_nonce},{server_nonce}".encode(), stored_key)
    return bytes(a ^ b for a, b in zip(client_key, signature)).hex()


def scram_server_signature(password, first_nonce, server_nonce, salt_hex, iterations):
    server_key = _hmac(b"Server Key", scram_salted(password, salt_hex, iterations))
    return _hmac(f"{first_nonce},{server_nonce},{server_nonce}".encode(), server_key).hex()


@dataclass
class Challenge:
    first_nonce: str
    server_nonce: str
    salt: str


@dataclass
class Session:
    id: str
    used: float
    tokens: list = field(default_factory=list)
    logged_in: bool = False
    challenge: Challenge | None = None


class Sessions:
    """The modem's sessions. Ids and tokens are 32 characters; a token is good for one POST."""

    def __init__(self, random_hex, clock):
        self._random_hex = random_hex       # number of characters -> text
        self._clock = clock
        self._sessions = {}

    def open(self):
        self._expire()
        while len(self._sessions) >= MAX_SESSIONS:
            self.close(min(self._sessions.values(), key=lambda session: session.used))
        session = Session(self._random_hex(64), self._clock())
        self._sessions[session.id] = session
        return session

    def find(self, id):
        self._expire()
        session = self._sessions.get(id)
        if session:
            session.used = self._clock()
        return session

    def close(self, session):
        self._sessions.pop(session.id, None)

    def renew(self, session):
        """A login moves the session to a new id; the old cookie and its tokens are worth nothing."""
        self.close(session)
        session.id = self._random_hex(64)
        session.tokens.clear()
        session.challenge = None
        self._sessions[session.id] = session

    def clear(self):
        self._sessions.clear()

    def issue(self, session, count=1):
        fresh = [self._random_hex(32) for _ in range(count)]
        session.tokens = (session.tokens + fresh)[-MAX_TOKENS:]
        return fresh

    @staticmethod
    def spend(session, token):
        if token not in session.tokens:
            return False
        session.tokens.remove(token)
        return True

    def _expire(self):
        oldest = self._clock() - SESSION_IDLE
        self._sessions = {id: session for id, session in self._sessions.items() if session.used >= oldest}


class Lockout:
    """Three wrong passwords close the login for a while."""

    def __init__(self, lock_time, clock):
        self._lock_time = lock_time
        self._clock = clock
        self._failures = 0
        self._until = 0.0

    def remaining(self):
        return max(0.0, self._until - self._clock())

    def failed(self):
        """The error code for this wrong password."""
        self._failures += 1
        if self._failures < LOGIN_TRIES:
            return 108006
        self._failures, self._until = 0, self._clock() + self._lock_time
        return 108007

    def succeeded(self):
        self._failures = 0

    def tries_left(self):
        return LOGIN_TRIES - self._failures
