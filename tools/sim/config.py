"""A supervisor's configuration for a rack, in YAML. Every scalar is a JSON string or number, which YAML reads as well."""
import json
import os


def supervisor_config(description, folder, address="static", interval="1s", password_folder=None, **overrides):
    """The text; passwords go into files of their own under the folder."""
    folder = os.path.abspath(folder)
    value = json.dumps
    settings = {
        "timeout": "2s", "down_after": 2, "up_after": 1, "cooldown": "1s", "off_time": "300ms",
        "rotation_timeout": "15s", "settle": "3s", "retry_after": "10s", "stages": ["route", "modem"],
        "port_base": 10000, "listen": "127.0.0.1:8080",
    } | {key: each for key, each in overrides.items() if each is not None}
    lines = [
        f"uplink: {{interface: up0, metric: 100}}",
        f"runtime_dir: {value(folder + '/run')}",
        f"state_dir: {value(folder + '/state')}",
        "launcher: fork",
        f"api: {{listen: {value(settings['listen'])}}}",
        f"proxy: {{port_base: {settings['port_base']}}}",
        "probe:",
        '  targets: ["http://connectivity.test/generate_204", "http://success.test/success.txt"]',
        '  public_ip_url: "http://ip.test/"',
        f"  interval: {interval}",
        f"  timeout: {settings['timeout']}",
        f"  down_after: {settings['down_after']}",
        f"  up_after: {settings['up_after']}",
        f"rotation: {{cooldown: {settings['cooldown']}, off_time: {settings['off_time']},"
        f" timeout: {settings['rotation_timeout']}}}",
        "recovery:",
        f"  stages: [{', '.join(settings['stages'])}]",
        f"  settle: {{route: 1s, modem: {settings['settle']}}}",
        f"  retry_after: {settings['retry_after']}",
        "dongles:",
    ]
    for modem in description["modems"]:
        lines += [f"  - id: {modem['id']}", f"    interface: {value(modem['interface'])}"]
        if address == "static":
            lines += [f"    address: {modem['address']}", f"    gateway: {modem['gateway']}"]
        else:
            lines += [f"    address: {address}"]
        api = [("type", "hilink"), ("url", f"http://{modem['gateway']}"), ("username", modem["username"])]
        if modem["login"] != "none":
            path = f"{folder}/password-{modem['id']}"
            _write_secret(path, modem["password"])
            api.append(("password_file", path))
        lines.append(f"    modem: {{{', '.join(f'{key}: {value(each)}' for key, each in api)}}}")
    return "\n".join(lines) + "\n"


def _write_secret(path, text):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(fd, "w") as file:
        file.write(text + "\n")
