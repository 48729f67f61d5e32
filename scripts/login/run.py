#!/usr/bin/env python3
"""Logs in at Dex through its form, as a browser does, and asks a model by way of two gateways that share nothing but the
client's secret: sessions, renewals, a provider that goes away and comes back with other keys, and logging out. Programs
show Dex's tokens at a listener of their own."""
import argparse
import base64
import http.cookiejar
import json
import os
import re
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.parse
import urllib.request

MODEL = "llama-3.1-8b"
# In Dex's own examples as well: `password`.
PASSWORD_HASH = "$2a$10$2b2cU8CPhOTaGrs1HRQuAueS7JTT5ZHsHSzYiFPm1leZck7Mc8T4W"
# How long Dex's ID tokens hold, and sessions with them.
TOKEN_SECONDS = 4
PATIENCE_SECONDS = 60


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_for(what, look):
    end = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < end:
        found = look()
        if found:
            return found
        time.sleep(0.05)
    sys.exit(f"login: nothing came of {what} within {PATIENCE_SECONDS} s")


def is_open(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


class Stay(urllib.request.HTTPRedirectHandler):
    """Follows nothing."""

    def redirect_request(self, *_):
        return None


class Answer:
    def __init__(self, response):
        self.status, self.headers, self.url = response.status, response.headers, response.url
        self.body = response.read().decode()

    def json(self):
        return json.loads(self.body)


class Browser:
    """Keeps cookies, and follows redirects where it is asked to."""

    def __init__(self, cookies=None):
        self.jar = http.cookiejar.CookieJar()
        for cookie in cookies or []:
            self.jar.set_cookie(cookie)
        self.opener = urllib.request.build_opener(Stay, urllib.request.HTTPCookieProcessor(self.jar))

    def ask(self, url, form=None, question=None, token=None):
        data = urllib.parse.urlencode(form).encode() if form else None
        headers = {"accept": "text/html"}
        if question is not None:
            data, headers = json.dumps(question).encode(), {"content-type": "application/json"}
        if token:
            headers["authorization"] = f"Bearer {token}"
        request = urllib.request.Request(url, data=data, headers=headers)
        try:
            return Answer(self.opener.open(request, timeout=30))
        except urllib.error.HTTPError as error:
            return Answer(error)

    def follow(self, url, form=None, until=None):
        """Asks, and follows redirects: to the end, or to where the address begins so."""
        for _ in range(12):
            answer = self.ask(url, form)
            if answer.status not in (302, 303):
                return answer
            url, form = urllib.parse.urljoin(url, answer.headers["location"]), None
            if until and url.startswith(until):
                return url
        sys.exit(f"login: redirects do not end, at {url}")

    def ask_model(self, gateway):
        messages = [{"role": "user", "content": "Hello"}]
        return self.ask(f"{gateway.url}/v1/chat/completions", question={"model": MODEL, "max_tokens": 4, "messages": messages})

    def ask_model_with(self, gateway, token):
        question = {"model": MODEL, "max_tokens": 4, "messages": [{"role": "user", "content": "Hello"}]}
        return self.ask(f"{gateway.tokens_url}/v1/chat/completions", question=question, token=token)

    def log_in(self, gateway, password="password", until=None):
        """Opens a page, fills in Dex's form, and goes where that leads."""
        form = self.follow(f"{gateway.url}/v1/models")
        action = re.search(r'<form[^>]*action="([^"]+)"', form.body)
        check(action, f"Dex shows its form: {form.status} {form.body[:300]}")
        url = urllib.parse.urljoin(form.url, action.group(1).replace("&amp;", "&"))
        return self.follow(url, {"login": "ann@example.com", "password": password}, until)

    def session(self):
        return [cookie for cookie in self.jar if "session" in cookie.name]


class Process:
    """A program that is killed in the end, with its output in a file."""

    def __init__(self, folder, name, command):
        self.log = os.path.join(folder, f"{name}.log")
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, cwd=folder)

    def stop(self):
        self.process.kill()
        self.process.wait()


class Dex:
    def __init__(self, folder, program, gateways):
        self.folder, self.program, self.port = folder, program, free_port()
        self.issuer = f"http://127.0.0.1:{self.port}/dex"
        self.file = os.path.join(folder, "dex.json")
        config = {
            "issuer": self.issuer, "storage": {"type": "memory"}, "web": {"http": f"127.0.0.1:{self.port}"},
            "oauth2": {"skipApprovalScreen": True}, "expiry": {"idTokens": f"{TOKEN_SECONDS}s"}, "enablePasswordDB": True,
            "staticClients": [{"id": "chat", "name": "Chat", "secret": SECRET,
                               "redirectURIs": [f"{gateway.url}/oauth2/callback" for gateway in gateways]}],
            "staticPasswords": [{"email": "ann@example.com", "username": "ann", "userID": "1", "hash": PASSWORD_HASH}],
        }
        with open(self.file, "w") as file:
            json.dump(config, file)

    def start(self):
        self.process = Process(self.folder, "dex", [self.program, "serve", self.file])
        wait_for("Dex's start", lambda: is_open(self.port))

    def stop(self):
        self.process.stop()


SECRET = "a-long-and-random-secret-of-the-client"


class Gateway:
    def __init__(self, folder, name):
        self.folder, self.name, self.port, self.admin = folder, name, free_port(), free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.tokens_port = free_port()
        self.tokens_url = f"http://127.0.0.1:{self.tokens_port}"

    def start(self, program, issuer, model_port):
        document = {
            "apiVersion": "penstock.dev/v1alpha1", "kind": "RoutingConfig", "metadata": {"name": self.name},
            "admin": {"address": f"127.0.0.1:{self.admin}"},
            "policies": [{"name": "people", "authentication": {"oidc": {
                "issuer": issuer, "clientId": "chat", "clientSecret": os.path.join(self.folder, "secret"),
                "scopes": ["email", "offline_access"], "forwardAccessToken": True, "consumerClaim": "email",
                "claimHeaders": [{"header": "x-user", "claim": "email"}],
            }}, "authorization": {"rules": [
                {"action": "Allow", "provider": "oidc", "claims": [{"name": "email", "values": ["ann@example.com"]}]},
            ]}}, {"name": "programs", "authentication": {"jwt": {"providers": [{
                "name": "dex", "issuer": issuer, "audiences": ["chat"], "keysUrl": f"{issuer}/keys", "consumerClaim": "email",
                "claimHeaders": [{"header": "x-user", "claim": "email"}],
            }]}}}],
            "listeners": [{"name": "http", "address": f"127.0.0.1:{self.port}", "policies": ["people"]},
                          {"name": "tokens", "address": f"127.0.0.1:{self.tokens_port}", "policies": ["programs"]}],
            "routes": [{"name": "all", "rules": [{"models": [MODEL], "targets": [{"backend": "model"}]}]}],
            "backends": [{"name": "model", "endpoints": [{"host": "127.0.0.1", "port": model_port}]}],
        }
        file = os.path.join(self.folder, f"{self.name}.json")
        with open(file, "w") as out:
            json.dump(document, out)
        self.process = Process(self.folder, self.name, [program, "serve", file])
        wait_for(f"the start of gateway {self.name}", lambda: is_open(self.port) and is_open(self.admin))
        wait_for(f"gateway {self.name} to discover Dex", lambda: self.value("policy_keys_available", way="oidc"))
        wait_for(f"gateway {self.name} to have Dex's keys", lambda: self.value("policy_keys_available", way="jwt"))

    def value(self, metric, **labels):
        """The value of a metric that has these labels, or 0."""
        page = urllib.request.urlopen(f"http://127.0.0.1:{self.admin}/metrics", timeout=10).read().decode()
        for line in page.splitlines():
            if line.startswith(f"penstock_{metric}{{") and all(f'{name}="{value}"' in line for name, value in labels.items()):
                return float(line.rsplit(" ", 1)[1])
        return 0

    def count(self, outcome):
        return self.value("logins_total", outcome=outcome)

    def stop(self):
        self.process.stop()


def check(is_so, what):
    if not is_so:
        raise AssertionError(what)


def equal(found, expected, what):
    check(found == expected, f"{what}: {found!r}, and not {expected!r}")


def seen_by(model_port):
    """The last request that the model's server got."""
    requests = json.load(urllib.request.urlopen(f"http://127.0.0.1:{model_port}/sim/requests", timeout=10))
    return {name.lower(): value for name, value in requests[-1]["headers"]}


def first_login(gateways, model_port):
    browser = Browser()
    refused = browser.log_in(gateways[0], password="wrong")
    check("<form" in refused.body and not browser.session(), "a wrong password logs nobody in")
    equal(browser.ask_model(gateways[0]).status, 401, "without a session a program is told so")
    page = browser.log_in(gateways[0])
    equal((page.status, page.url), (200, f"{gateways[0].url}/v1/models"), "a login leads back to the page")
    equal([model["id"] for model in page.json()["data"]], [MODEL], "which is there")
    for gateway in gateways:
        answer = browser.ask_model(gateway)
        equal(answer.status, 200, f"gateway {gateway.name} knows the session: {answer.body[:300]}")
        seen = seen_by(model_port)
        check(seen["authorization"].startswith("Bearer ey"), "the model's server is shown Dex's access token")
        equal((seen.get("x-user"), seen.get("cookie")), ("ann@example.com", None), "and who it is, and no cookies")
    return browser


def renewal(browser, gateway):
    """Dex takes a refresh token once: of many requests at once, one renews the session, and all are served."""
    time.sleep(TOKEN_SECONDS + 1)
    statuses, cookies, before = [], list(browser.jar), gateway.count("renewed")

    def ask():
        other = Browser(cookies)
        statuses.append(other.ask_model(gateway).status)
        browsers.append(other)

    browsers = []
    threads = [threading.Thread(target=ask) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    equal(statuses, [200] * 16, "all are served while the session is renewed")
    equal(gateway.count("renewed"), before + 1, "it was renewed once")
    values = {cookie.value for one in browsers for cookie in one.session()}
    check({cookie.value for cookie in cookies} != values, "browsers are told")
    # What was given is good for another renewal.
    browser = browsers[0]
    time.sleep(TOKEN_SECONDS + 1)
    equal(browser.ask_model(gateway).status, 200, "a session is renewed again")
    equal(gateway.count("renewed"), before + 2, "it was renewed twice")
    return browser


def outage(browser, dex, gateway):
    started = time.monotonic()
    led = Browser()
    back = led.log_in(gateway, until=f"{gateway.url}/oauth2/callback")
    equal(browser.ask_model(gateway).status, 200, "a session holds")
    dex.stop()
    if time.monotonic() - started < TOKEN_SECONDS - 1:
        equal(browser.ask_model(gateway).status, 200, "a session holds without Dex")
    equal(led.ask(back).status, 503, "nobody can log in without Dex")
    time.sleep(TOKEN_SECONDS + 1)
    equal(browser.ask_model(gateway).status, 503, "a session cannot be renewed without Dex")
    # It has forgotten everything, its keys as well.
    dex.start()
    equal(led.ask(back).status, 401, "a code of before is none")
    equal(browser.ask_model(gateway).status, 401, "nor is a session of before")
    page = browser.log_in(gateway)
    equal(page.status, 200, f"people log in with keys that are new: {page.body[:300]}")
    return browser


def changed(token, part, change):
    """A token, one part of which is another."""
    parts = token.split(".")
    value = json.loads(base64.urlsafe_b64decode(parts[part] + "=="))
    parts[part] = base64.urlsafe_b64encode(json.dumps({**value, **change}).encode()).decode().rstrip("=")
    return ".".join(parts)


def token_of(browser, gateway, model_port):
    """The access token that Dex gave for a browser's login."""
    equal(browser.ask_model(gateway).status, 200, "a session holds")
    return seen_by(model_port)["authorization"].removeprefix("Bearer ")


def tokens(token, gateways, model_port):
    """A program shows what Dex issued, and what it did not."""
    for gateway in gateways:
        answer = Browser().ask_model_with(gateway, token)
        equal(answer.status, 200, f"gateway {gateway.name} believes Dex's token: {answer.body[:300]}")
        seen = seen_by(model_port)
        equal((seen.get("x-user"), seen.get("authorization")), ("ann@example.com", None), "who it is is told, the token is not")
        unsigned = changed(token, 0, {"alg": "none"})
        for what, other in (
            ("another's name", changed(token, 1, {"email": "bob@example.com"})), ("a later end", changed(token, 1, {"exp": 2**40})),
            ("no algorithm", unsigned), ("no algorithm and no signature", unsigned.rsplit(".", 1)[0] + "."),
            ("an algorithm with a shared secret", changed(token, 0, {"alg": "HS256"})), ("no signature", token.rsplit(".", 1)[0] + "."),
            ("another's key", changed(token, 0, {"kid": "nobody"})),
        ):
            answer = Browser().ask_model_with(gateway, other)
            equal(answer.status, 401, f"a token with {what} is refused")
            check("invalid_token" in answer.headers["www-authenticate"], f"with its reason: {answer.headers['www-authenticate']}")
        equal(Browser().ask_model_with(gateway, "").status, 401, "as nothing is")


def other_keys(old, browser, gateway, model_port):
    """Dex is another since, with keys of its own."""
    new = token_of(browser, gateway, model_port)
    wait_for("Dex's new keys", lambda: Browser().ask_model_with(gateway, new).status == 200)
    equal(Browser().ask_model_with(gateway, old).status, 401, "what was signed with keys of before is refused")


def leaving(browser, gateway):
    left = browser.ask(f"{gateway.url}/logout")
    equal((left.status, left.headers["location"]), (302, f"{gateway.url}/"), "people are led out")
    equal(browser.session(), [], "the browser forgets the session")
    equal(browser.ask_model(gateway).status, 401, "nobody is logged in")


def main():
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--dex", required=True, help="Dex's program")
    options.add_argument("--bin", required=True, help="the folder with Penstock's programs")
    options = options.parse_args()
    programs = os.path.realpath(options.bin)
    with tempfile.TemporaryDirectory(prefix="penstock-login-") as folder:
        with open(os.path.join(folder, "secret"), "w") as file:
            file.write(SECRET)
        gateways = [Gateway(folder, name) for name in ("one", "two")]
        dex, model_port = Dex(folder, options.dex, gateways), free_port()
        simulator = [os.path.join(programs, "penstock-sim"), "--port", str(model_port), "--record", "1", "--model", MODEL]
        running = [Process(folder, "model", simulator)]
        try:
            dex.start()
            running.append(dex)
            wait_for("the model's server", lambda: is_open(model_port))
            for gateway in gateways:
                gateway.start(os.path.join(programs, "penstock"), dex.issuer, model_port)
                running.append(gateway)
            browser = first_login(gateways, model_port)
            token = token_of(browser, gateways[0], model_port)
            tokens(token, gateways, model_port)
            browser = renewal(browser, gateways[0])
            browser = outage(browser, dex, gateways[0])
            other_keys(token, browser, gateways[0], model_port)
            leaving(browser, gateways[0])
        except BaseException:
            for name in ("dex", "one", "two"):
                path = os.path.join(folder, f"{name}.log")
                if os.path.exists(path):
                    with open(path, errors="replace") as log:
                        print(f"== {name}\n{log.read()[-3000:]}", file=sys.stderr)
            raise
        finally:
            for process in reversed(running):
                process.stop()
    print("login: people log in at Dex, stay logged in, and log out; programs show its tokens")


if __name__ == "__main__":
    main()
