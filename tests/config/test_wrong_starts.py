# ruff: noqa: E501 - a row of a table is one line
"""What an operator may get wrong before the bot starts, from every place where settings are written.

Each ends the command with exit code 2 and one line: the setting as it was written, what is wrong, and how to write it.
"""

from __future__ import annotations

import errno
import json
import os
import socket
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from pydantic import SecretStr

from bot.cli import main
from bot.config.complaints import TABLES
from bot.config.load import load_what_is_right, parse, what_is_right
from bot.config.masking import masked
from bot.config.settings import SettingsError
from bot.config.sources import CONVENTIONAL, Written
from bot.domain.errors import CannotStart
from bot.logs import set_up
from bot.web.listening import Endpoint, listening_sockets, refusal
from providers.base import AccountSettings

CANARY = "hunter2"  # a secret in the wrong place: no sentence repeats it
GOOD = """
[accounts.encom]
provider = "encom"
base_url = "https://encom.example"
customer_account = "CL1"
token = "encom-token-1"
[audiences.clients]
account = "encom"
id = "1"
"""
TOKENS = {"SLACK_BOT_TOKEN": "xoxb-1-right", "SLACK_APP_TOKEN": "xapp-1-right"}
FILE, ENVIRONMENT, DOTENV = "in bellcrier.toml", "in the environment", "in .env"
DURATION = "must be a duration such as 200ms, 30s, 15m, 1.5h, 1h30m or 2d; a bare number is seconds"


@dataclass(frozen=True)
class Start:
    """A start, and the beginning and a part of each line that it must say. `toml` stands above the rest of the file."""

    said: tuple[tuple[str, str], ...]
    toml: str | bytes = ""
    env: Mapping[str, str] = field(default_factory=dict)
    dotenv: str | bytes | None = None
    words: tuple[str, ...] = ("run",)
    code: int = 2


def in_file(toml: str, name: str, *parts: str) -> Start:
    """A wrong line of the settings file, and what is said about the setting."""
    return Start(tuple((f"{name} {FILE}: ", part) for part in parts), toml=toml)


def in_environment(name: str, value: str, *parts: str, **more: str) -> Start:
    return Start(tuple((f"{name} {ENVIRONMENT}: ", part) for part in parts), env={name: value, **more})


def in_dotenv(line: str | bytes, begins: str, part: str) -> Start:
    return Start(((begins, part),), dotenv=line)


def write(name: str, value: str) -> str:
    return f"Write it like `{name} = {value}`."


VIP = '[audiences.vip]\naccount = "encom"\nid = "2"\n'
OCTO = '[accounts.octo]\nprovider = "octopush"\nlogin = "me@x.example"\napi_key = "key-1"\n'
KEY = "`openssl rand -base64 32` makes one"
PEOPLE = "is not a user (U…) or a user group (S…). Write it like"

IN_THE_FILE = [
    # one of a few words
    in_file('mode = "prod"', "mode", "must be live or training. " + write("mode", '"live"')),
    in_file("mode = 5", "mode", "must be live or training"),
    in_file('mode = ""', "mode", "is blank; give it a value, or leave it out. " + write("mode", '"live"')),
    in_file("mode = true", "mode", "must not be true or false"),
    in_file("mode = []", "mode", "must be live or training"),
    in_file("[mode]\nlive = 1", "mode", "must be one value, and is a table. " + write("mode", '"live"')),
    in_file('locale = "de"', "locale", "must be en, fr or es. " + write("locale", '"en"')),
    in_file('log_level = "verbose"', "log_level", "must be debug, info, warning or error. " + write("log_level", '"info"')),
    in_file('log_level = ["info"]', "log_level", "must be debug, info, warning or error"),
    # addresses, zones
    in_file('public_url = "bell.example.org"', "public_url", write("public_url", '"https://bell.example.org"')),
    in_file('public_url = ""', "public_url", "is blank; give it a value, or leave it out"),
    in_file('public_url = "https://bell:99999"', "public_url", "must be an address that begins with https://"),
    in_file('public_url = "https:///x"', "public_url", "must be an address that begins with https://"),
    in_file("public_url = 7", "public_url", "must be text, in quotes"),
    in_file('slack_api_url = "slack.com"', "slack_api_url", write("slack_api_url", '"https://slack.com/api/"')),
    in_file(f'slack_api_url = "ftp://u:{CANARY}@x"', "slack_api_url", "must be an address that begins with https://"),
    in_file('timezone = "europe/pariss"', "timezone", "is no time zone; did you mean Europe/Paris?"),
    in_file('timezone = "Mars/Base"', "timezone", "is no time zone. " + write("timezone", '"Europe/Paris"')),
    in_file("timezone = 2", "timezone", "must be text, in quotes. " + write("timezone", '"Europe/Paris"')),
    in_file('metrics_listen = "9464"', "metrics_listen", "must be HOST:PORT, such as 127.0.0.1:9464"),
    in_file('metrics_listen = "127.0.0.1:99999"', "metrics_listen", "with a port of at most 65535"),
    in_file('metrics_listen = "127.0.0.1:0"', "metrics_listen", "must be HOST:PORT"),
    in_file("metrics_listen = 9464", "metrics_listen", "must be text, in quotes"),
    in_file("host = 3", "host", "must be text, in quotes. " + write("host", '"127.0.0.1"')),
    in_file('trusted_proxies = ["proxy"]', "trusted_proxies", "must be addresses and networks, such as 10.0.0.0/8"),
    # numbers and flags
    in_file("hourly_cap = 0", "hourly_cap", "must be 1 or more. " + write("hourly_cap", "60")),
    in_file("hourly_cap = -3", "hourly_cap", "must be 1 or more"),
    in_file('hourly_cap = "many"', "hourly_cap", "must be a whole number. " + write("hourly_cap", "60")),
    in_file("hourly_cap = 6.5", "hourly_cap", "must be a whole number"),
    in_file("hourly_cap = true", "hourly_cap", "must not be true or false"),
    in_file("hourly_cap = [1]", "hourly_cap", "must be a whole number"),
    in_file("asks_per_hour = -1", "asks_per_hour", "must be 0 or more. " + write("asks_per_hour", "1000")),
    in_file('allow_private_hosts = "perhaps"', "allow_private_hosts", "must be true or false"),
    in_file("allow_private_hosts = 3", "allow_private_hosts", "must be true or false"),
    # durations
    *(
        in_file(f"{name} = {written}", name, DURATION)
        for name in ("grace", "report_after")
        for written in ('"soon"', '""', '"-5m"', '"1h 30"', '"24 hours"', '"1:30"', "[1]", "true", "nan")
    ),
    in_file('grace = "99999999999d"', "grace", "is longer than a hundred years, and " + DURATION),
    in_file("grace = inf", "grace", "is longer than a hundred years, and " + DURATION),
    in_file("grace = -1", "grace", "is negative, and " + DURATION),
    # people
    in_file('admins = "ana"', "admins", "is not a user's id (U…). " + write("admins", '["U0ANA"]')),
    in_file('admins = ["C0OPS"]', "admins", "is not a user's id (U…)"),
    in_file("admins = [1]", "admins", "its entry 1 must be text, in quotes"),
    in_file("admins = 5", "admins", "must be a list. " + write("admins", '["U0ANA"]')),
    in_file(f'admins = ["U0ANA", "{CANARY}"]', "admins", "its entry 2 is not a user's id (U…)"),
    # secrets
    in_file('secret_key = "abc"', "secret_key", KEY),
    in_file('secret_key = ""', "secret_key", "is blank; give it a value, or leave it out"),
    in_file('secret_key = "changeme"', "secret_key", "blank or an example; put the real secret there"),
    in_file("secret_key = 12", "secret_key", "must be text, in quotes"),
    in_file('slack_signing_secret = "xoxb-1-2"', "slack_signing_secret", "this secret belongs in SLACK_BOT_TOKEN"),
    in_file('slack_client_id = "1.2"', "slack_client_id", "needs SLACK_CLIENT_SECRET too"),
    in_file('slack_client_secret = "abc1"', "slack_client_secret", "needs SLACK_CLIENT_ID too"),
    in_file(
        'slack_client_id = "1.2"\nslack_client_secret = "1.2"', "slack_client_secret", "this secret belongs in SLACK_CLIENT_ID"
    ),
    in_file('slack_client_id = "1.2"\nslack_client_secret = "<secret>"', "slack_client_secret", "blank or an example"),
    # the database
    in_file(f'database_url = "mysql://u:{CANARY}@x/y"', "database_url", 'Write it like `database_url = "postgresql://'),
    in_file('database_url = "bellcrier.db"', "database_url", "must be sqlite:///FILE or postgresql://"),
    in_file('database_url = ""', "database_url", "is blank"),
    in_file("database_url = 5", "database_url", "must be text, in quotes"),
    in_file(f'database_url = "postgresql://u:{CANARY}@db:99999/x"', "database_url", "names a port that is no number"),
    Start((("secret_key: ", "must be given with PostgreSQL; " + KEY),), f'database_url = "postgresql://u:{CANARY}@db/x"'),
    # names
    in_file("hourly_caps = 3", "hourly_caps", "there is no such setting. Did you mean hourly_cap?"),
    in_file("quorum = 2", "quorum", "there is no such setting. quorum belongs in [approval]."),
    in_file("max_size = 2", "max_size", "there is no such setting. max_size belongs in [audiences.NAME]."),
    in_file("[approvals]\nquorum = 1", "approvals", "there is no such setting. Did you mean approval?"),
    in_file('[approval]\nadmins = ["U0ANA"]', "approval.admins", "admins belongs at the top of the file"),
    in_file("[approval]\nquorm = 1", "approval.quorm", "Did you mean quorum?"),
    # tables
    in_file('approval = "U0ANA"', "approval", "must be a table, and is one value. Write it like `[approval]`."),
    in_file("[[approval]]\nquorum = 1", "approval", "must be a table, and is a list. Write it like `[approval]`."),
    in_file("policies = 3", "policies", "must be a table, and is one value. Write it like `[policies.NAME]`."),
    in_file('policies.fr = "x"', "policies.fr", "must be a table, and is one value. Write it like `[policies.fr]`."),
    in_file('[accounts]\nocto = "x"', "accounts.octo", "must be a table, and is one value. Write it like `[accounts.octo]`."),
    in_file('holidays = "FR"', "holidays", "must be a table, and is one value. Write it like `[holidays]`."),
    in_file("holidays = {}", "holidays.calendar", "is missing. " + write("calendar", '"FR"')),
    in_file('holidays = { calendar = "XX" }', "holidays", "there is no such calendar; write the code of a country, such as FR"),
    in_file('holidays = { calendar = "FR", regoin = "57" }', "holidays.regoin", "there is no such setting"),
    # accounts
    in_file('[accounts.Octo]\nprovider = "octopush"\nlogin = "m"\napi_key = "k-1"', "accounts.Octo", "is no name for an account; use small letters"),
    in_file('[accounts.octo]\nlogin = "m"', "accounts.octo.provider", "is missing; choose one of encom, kaizala, octopush"),
    in_file('[accounts.octo]\nprovider = "octopuss"', "accounts.octo.provider", "Did you mean octopush?"),
    in_file(OCTO.replace("key-1", "your-key"), "accounts.octo.api_key", "blank or an example"),
    in_file(OCTO.replace("key-1", ""), "accounts.octo.api_key", "blank or an example"),
    in_file(OCTO.replace('api_key = "key-1"\n', ""), "accounts.octo.api_key", "is missing"),
    in_file(OCTO + 'sendr = "Bell"', "accounts.octo.sendr", "there is no such setting. Did you mean sender?"),
    in_file(OCTO + 'admins = ["U0ANA"]', "accounts.octo.admins", "admins belongs at the top of the file, above the first [table]"),
    in_file(OCTO + 'sender = "36111"', "accounts.octo.sender", "must have 3 to 11 letters and digits"),
    in_file(OCTO + 'timeout = "1h"', "accounts.octo.timeout", "at most 5m; 30s is a good choice"),
    in_file(OCTO + 'timeout = "soon"', "accounts.octo.timeout", DURATION),
    in_file(OCTO + "requests_per_second = 0", "accounts.octo.requests_per_second", "must be more than 0"),
    in_file(OCTO + 'requests_per_second = "fast"', "accounts.octo.requests_per_second", "must be a number"),
    in_file(OCTO + 'type = "premium"', "accounts.octo.type", "must be sms_premium or sms_low_cost"),
    in_file(OCTO + 'base_url = "http://api.octopush.com"', "accounts.octo.base_url", "must begin with https://"),
    in_file(OCTO + 'base_url = "https://127.0.0.1"', "accounts.octo.base_url", "allow_private_hosts = true"),
    in_file(OCTO + 'test_audience = "team"', "accounts.octo.test_audience", "there is no such audience"),
    in_file(OCTO + 'test_audience = "clients"', "accounts.octo.test_audience", "belongs to the account encom"),
    # audiences
    in_file('[audiences.vip]\naccount = "encom"', "audiences.vip.id", "is missing. " + write("id", '"123456"')),
    in_file('[audiences.vip]\nid = "2"', "audiences.vip.account", "is missing. " + write("account", '"octo"')),
    in_file(VIP.replace("encom", "encon"), "audiences.vip.account", "there is no such account; there are: encom"),
    in_file(VIP.replace('"2"', '""'), "audiences.vip.id", "is blank; give it a value. " + write("id", '"123456"')),
    in_file(VIP.replace('"2"', "1.5"), "audiences.vip.id", "must be text, in quotes"),
    in_file(VIP + 'kind = "lists"', "audiences.vip.kind", "must be list, tag or group. " + write("kind", '"list"')),
    in_file(VIP + "max_size = 0", "audiences.vip.max_size", "must be 1 or more. " + write("max_size", "5000")),
    in_file(VIP + f'requesters = ["{CANARY}"]', "audiences.vip.requesters", PEOPLE),
    in_file(VIP + "quorum = 3", "audiences.vip.quorum", "quorum belongs in [approval]"),
    in_file(VIP + 'everyone = true\nsubscribers = ["+336"]', "audiences.vip", "say either everyone or subscribers"),
    in_file(VIP + 'policy = "moon"', "audiences.vip.policy", "there is no such policy; there are: es, es-canarias, fr"),
    in_file('audiences.vip = "1"', "audiences.vip", "must be a table, and is one value. Write it like `[audiences.vip]`."),
    # policies
    in_file('[policies.shop]\nextends = "frr"', "policies.shop.extends", "there is no policy frr"),
    in_file('[policies.shop]\nextends = "shop"', "policies.shop.extends", "it goes round in a circle"),
    in_file('[policies.fr.marketing]\noutside = "wait"', "policies.fr.marketing.outside", "hold"),
    in_file('[policies.fr.marketing]\nend_margin = "soon"', "policies.fr.marketing.end_margin", DURATION),
    *(
        in_file(f"[[policies.shop.marketing.windows]]\nstart = {start}\nend = '20:00'", "policies.shop.marketing.windows number 1, start", 'must be a time of the day, such as "08:00".')
        for start in ("'9h'", "'25:00'", "9")
    ),
    in_file('[policies.fr]\ntimezone = "Mars/Base"', "policies.fr.timezone", "Mars/Base"),
    # approval
    in_file("[approval]\nquorum = 21", "approval.quorum", "must be 20 or less. " + write("quorum", "1")),
    in_file("[approval]\nquorum = 0", "approval.quorum", "must be 1 or more, or marketing would go out without approval. " + write("quorum", "1")),
    in_file('[approval]\nquorum = "two"', "approval.quorum", "must be a whole number"),
    in_file('[approval]\nchannel = "#general"', "approval.channel", 'is not a channel\'s id (C… or G…). Write it like `channel = "C0'),
    in_file('[approval]\nchannel = "U0ANA"', "approval.channel", "is not a channel's id (C… or G…)"),
    *(in_file(f'[approval]\n{who} = ["{CANARY}"]', f"approval.{who}", PEOPLE) for who in ("approvers", "notify", "delegates", "break_glass")),
    *(in_file(f'[approval]\n{name} = "x"', f"approval.{name}", DURATION) for name in ("undo", "expires_after", "remind_after", "duplicates_within")),
    in_file("[approval]\nrules = 5", "approval.rules", "must be one or more tables [[approval.rules]]"),
    in_file("[approval.rules]\nquorum = 1", "approval.rules", "must be one or more tables [[approval.rules]]"),
    in_file('[[approval.rules]]\npurpose = "marketing"', "approval.rules number 1, quorum", "is missing. " + write("quorum", "1")),
    in_file('[[approval.rules]]\nquorum = 1\nlarger_than = "x"', "approval.rules number 1, larger_than", "must be a whole number"),
    in_file('[[approval.rules]]\nquorum = 1\nbetween = "8-9"', "approval.rules number 1, between", 'such as "20:00-08:00"'),
    in_file('[[approval.rules]]\nquorum = 1\nbetween = "20:00-08:00"', "approval.rules number 1", "needs a timezone, such as"),
    in_file("[[approval.rules]]\nquorum = 0", "approval.rules number 1", "set it to 1 or more, or add purpose"),
    in_file('[[approval.rules]]\nquorum = 1\npurpose = "news"', "approval.rules number 1, purpose", "must be "),
]  # fmt: skip
TOML = "bellcrier.toml: it is not valid TOML: "
THE_FILE_ITSELF = [
    Start(((TOML, "(at line 1, column 5)"),), toml="x = \n"),
    Start(((TOML, "(at line 2, column 12). Write each setting and each table once."),), toml='mode = "live"\nmode="live"'),
    Start(((TOML, "Write each setting and each table once."),), toml='[accounts.encom]\nprovider = "encom"'),
    Start(((TOML, "(at line "),), toml='admins = ["U0ANA"\n'),
    Start(((TOML, "(at line 1, "),), toml=f"slack_bot_token = xoxb-{CANARY}"),
    Start((("bellcrier.toml: ", "no text in UTF-8 (line 2). Save it as UTF-8."),), toml='\nlocale = "é"'.encode("latin-1")),
    Start((("bellcrier.toml: ", "no text in UTF-8 (line 1). Save it as UTF-8."),), toml='mode = "live"'.encode("utf-16")),
    Start((("mode in bellcrier.toml: ", "must be live or training"),), toml='\ufeffmode = "prod"'),
]  # fmt: skip
AT_THE_CONFIG = [
    Start((("--config: ", "there is no file nowhere.toml."),), words=("run", "--config", "nowhere.toml")),
    Start((("--config: ", "there must be a file, and there is a folder ."),), words=("--config", ".", "run")),
    Start((("--config: ", "there is no file nowhere.toml."),), words=("db", "--config", "nowhere.toml", "check")),
    in_environment("BELLCRIER_CONFIG", "nowhere.toml", "there is no file nowhere.toml."),
    in_environment("BELLCRIER_CONFIG", "/", "there must be a file, and there is a folder /."),
    in_dotenv("BELLCRIER_CONFIG=nowhere.toml", "BELLCRIER_CONFIG in .env: ", "there is no file nowhere.toml."),
]
IN_THE_ENVIRONMENT = [
    in_environment("BELLCRIER_LOG_LEVEL", "verbose", "must be debug, info, warning or error. Write it like `BELLCRIER_LOG_LEVEL=info`."),
    in_environment("BELLCRIER_LOG_LEVEL", "", "is blank; give it a value, or leave it out. Write it like `BELLCRIER_LOG_LEVEL=info`."),
    in_environment("BELLCRIER_HOURLY_CAPS", "3", "there is no such setting. Did you mean hourly_cap?"),
    in_environment("BELLCRIER_HOURLY_CAP", "1h", "must be a whole number. Write it like `BELLCRIER_HOURLY_CAP=60`."),
    in_environment("BELLCRIER_ACCOUNTS", "x", "BELLCRIER_ACCOUNTS__A__B needs a table there, and this is one value. Keep one", BELLCRIER_ACCOUNTS__A__B="y"),
    in_environment("BELLCRIER_ACCOUNTS", "x", "must be a table, and is one value. Write it like `BELLCRIER_ACCOUNTS__NAME__SETTING=value`."),
    in_environment("BELLCRIER_ACCOUNTS__ENCOM", "x", "must be a table, and is one value. Write it like `BELLCRIER_ACCOUNTS__ENCOM__SETTING=value`."),
    in_environment("BELLCRIER_", "x", "there is no such setting. Write it as BELLCRIER_TABLE__SETTING=value."),
    in_environment("BELLCRIER_APPROVAL__", "x", "there is no such setting. Write it as BELLCRIER_TABLE__SETTING=value."),
    in_environment("BELLCRIER___MODE", "x", "there is no such setting."),
    in_environment("BELLCRIER_log_level", "info", "BELLCRIER_LOG_LEVEL sets the same. Keep one of them.", BELLCRIER_LOG_LEVEL="info"),
    in_environment("BELLCRIER_MODE__X", "1", "must be one value, and is a table. Write it like `BELLCRIER_MODE=live`."),
    in_environment("BELLCRIER_APPROVAL", "U0ANA", "must be a table, and is one value. Write it like `BELLCRIER_APPROVAL__SETTING=value`."),
    in_environment("BELLCRIER_APPROVAL__RULES", "1", "must be one or more tables [[approval.rules]] in the settings file"),
    in_environment("BELLCRIER_APPROVAL__RULES__0__QUORUM", "1", "must be one or more tables [[approval.rules]] in the settings file"),
    in_environment("BELLCRIER_APPROVAL__QUORM", "1", "there is no such setting. Did you mean quorum?"),
    replace(in_environment("BELLCRIER_APPROVAL__QUORUM", "0", "must be 1 or more"), toml='[approval]\nundo = "30s"'),
    Start((("secret_key: ", "must be given with PostgreSQL; " + KEY),), env={"DATABASE_URL": f"postgresql://u:{CANARY}@db/x"}),
    in_environment("BELLCRIER_APPROVAL__APPROVERS", f"U0ANA,{CANARY}", "its entry 2 is not a user (U…) or a user group (S…). Write it like `BELLCRIER_APPROVAL__APPROVERS=U0ANA,S0APPROVERS`."),
    in_environment("BELLCRIER_ADMINS", "ana, U0BEN", "its entry 1 is not a user's id (U…). Write it like `BELLCRIER_ADMINS=U0ANA`."),
    in_environment("BELLCRIER_GRACE", "99999999999d", "is longer than a hundred years, and " + DURATION),
    in_environment("BELLCRIER_GRACE", "-1h", DURATION),
    in_environment("BELLCRIER_APPROVAL__UNDO", "1h30", DURATION),
    in_environment("BELLCRIER_METRICS_LISTEN", "localhost:99999", "with a port of at most 65535"),
    in_environment("BELLCRIER_ALLOW_PRIVATE_HOSTS", "maybe", "must be true or false. Write it like `BELLCRIER_ALLOW_PRIVATE_HOSTS=false`."),
    in_environment("BELLCRIER_HOLIDAYS", "FR", "must be a table, and is one value. Write it like `BELLCRIER_HOLIDAYS__SETTING=value`."),
    in_environment("BELLCRIER_SECRET_KEY", CANARY, KEY),
    in_environment("BELLCRIER_PUBLIC_URL", "bell", "Write it like `BELLCRIER_PUBLIC_URL=https://bell.example.org`."),
    in_environment("BELLCRIER_TIMEZONE", "Paris", "is no time zone. Write it like `BELLCRIER_TIMEZONE=Europe/Paris`."),
    in_environment("BELLCRIER_AUDIENCES__CLIENTS__ACCOUNT", "nobody", "there is no such account; there are: encom"),
    in_environment("BELLCRIER_AUDIENCES__CLIENTS__POLICY", "moon", "there is no such policy"),
    in_environment("BELLCRIER_ACCOUNTS__ENCOM__PROVIDER", "encon", "there is no such provider; choose one of encom, kaizala, octopush. Did you mean encom?"),
    in_environment("BELLCRIER_ACCOUNTS__ENCOM__TOKEN", " ", "blank or an example; put the real secret there"),
    in_environment("BELLCRIER_ACCOUNTS__ENCOM__TIMEOUT", "1h", "at most 5m"),
    in_environment("SLACK_BOT_TOKEN", f"xapp-{CANARY}", "this secret belongs in SLACK_APP_TOKEN; put the right one here. Write it like `SLACK_BOT_TOKEN=xoxb-…`."),
    in_environment("SLACK_BOT_TOKEN", f"xoxp-{CANARY}", "does not begin with xoxb-: it looks like another secret"),
    in_environment("SLACK_BOT_TOKEN", f"xoxe.xoxb-{CANARY}", "turn token rotation off"),
    in_environment("SLACK_BOT_TOKEN", "xoxb-your-token", "blank or an example; put the real secret there"),
    in_environment("SLACK_BOT_TOKEN", f"xoxb-1 {CANARY}", "holds a space or a line break; copy the secret alone"),
    in_environment("SLACK_APP_TOKEN", f"xoxb-{CANARY}", "this secret belongs in SLACK_BOT_TOKEN; put the right one here. Write it like `SLACK_APP_TOKEN=xapp-…`."),
    in_environment("SLACK_APP_TOKEN", "xapp-…", "blank or an example"),
    in_environment("SLACK_SIGNING_SECRET", f"xapp-{CANARY}", "this secret belongs in SLACK_APP_TOKEN"),
    in_environment("SLACK_API_URL", "postgresql://x", "must be an address that begins with https://"),
    in_environment("DATABASE_URL", f"https://u:{CANARY}@slack.com/api/", "must be sqlite:///FILE or postgresql://"),
    in_environment("DATABASE_URL", f"mysql://u:{CANARY}@x/y", "must be sqlite:///FILE or postgresql://"),
    Start((("BELLCRIER_AUDIENCES__VIP__ACCOUNT in the environment: ", "is missing"),), env={"BELLCRIER_AUDIENCES__VIP__ID": "5"}),
    Start((("BELLCRIER_ACCOUNTS__NEW__PROVIDER in the environment: ", "is missing"),), env={"BELLCRIER_ACCOUNTS__NEW__TOKEN": "t-1"}),
    Start((("SLACK_BOT_TOKEN: ", "it is missing. Copy the bot token (xoxb-…) from the app's page"),), env={"SLACK_BOT_TOKEN": ""}),
    Start((("SLACK_BOT_TOKEN: ", "Is SLACK_BOT_TOKN in the environment meant to be SLACK_BOT_TOKEN?"),), env={"SLACK_BOT_TOKEN": "", "SLACK_BOT_TOKN": CANARY}),
    Start((("SLACK_APP_TOKEN: ", "Is SLACK_SIGNIN_SECRET in .env meant to be SLACK_SIGNING_SECRET?"),), env={"SLACK_APP_TOKEN": ""}, dotenv=f"SLACK_SIGNIN_SECRET={CANARY}"),
    Start((("SLACK_APP_TOKEN: ", "it is missing. Set it (xapp-…) for Socket Mode, or SLACK_SIGNING_SECRET"),), env={"SLACK_APP_TOKEN": ""}),
]  # fmt: skip
IN_DOTENV = [
    in_dotenv("BELLCRIER_LOG_LEVEL=verbose", "BELLCRIER_LOG_LEVEL in .env: ", "`BELLCRIER_LOG_LEVEL=info`"),
    in_dotenv("\ufeffBELLCRIER_LOG_LEVEL=verbose", "BELLCRIER_LOG_LEVEL in .env: ", "must be debug"),
    in_dotenv("export BELLCRIER_GRACE='soon'", "BELLCRIER_GRACE in .env: ", DURATION),
    in_dotenv("OTHER=1\n\nBELLCRIER_LOCALE=de", "BELLCRIER_LOCALE in .env: ", "must be en, fr or es"),
    in_dotenv("BELLCRIER_MODE", "BELLCRIER_MODE in .env: ", "it has no value. Write it as BELLCRIER_MODE=value."),
    in_dotenv("OTHER=1\n=x", ".env: ", "line 2 cannot be read. Write it as NAME=value."),
    in_dotenv(f"SLACK_BOT_TOKEN='{CANARY}", ".env: ", "line 1 cannot be read. Write it as NAME=value."),
    in_dotenv(
        "A=1\nBELLCRIER_PUBLIC_URL=é".encode("latin-1"), ".env: ", "no text in UTF-8 (line 2). Save it as UTF-8."
    ),
    in_dotenv("A=1".encode("utf-16"), ".env: ", "no text in UTF-8 (line 1). Save it as UTF-8."),
    in_dotenv("SLACK_SIGNING_SECRET=xoxb-1", "SLACK_SIGNING_SECRET in .env: ", "belongs in SLACK_BOT_TOKEN"),
]
IN_FILES = [
    in_environment("SLACK_BOT_TOKEN_FILE", f"xoxb-{CANARY}", "there is no file that it names", SLACK_BOT_TOKEN=""),
    in_environment("SLACK_BOT_TOKEN_FILE", "/tmp/no/secret", "there is no file /tmp/no/secret", SLACK_BOT_TOKEN=""),
    in_environment("SLACK_BOT_TOKEN_FILE", ".", "the file that it names cannot be read", SLACK_BOT_TOKEN=""),
    in_environment("SLACK_BOT_TOKEN_FILE", "empty", "the file that it names is empty", SLACK_BOT_TOKEN=""),
    in_environment("SLACK_BOT_TOKEN_FILE", "latin", "no text in UTF-8 (line 1)", SLACK_BOT_TOKEN=""),
    in_environment("SLACK_BOT_TOKEN_FILE", "app", "this secret belongs in SLACK_APP_TOKEN", SLACK_BOT_TOKEN=""),
    in_environment("SLACK_BOT_TOKEN_FILE", "app", "SLACK_BOT_TOKEN is set too. Keep one of them."),
    in_environment("BELLCRIER_SECRET_KEY_FILE", "latin", "no text in UTF-8"),
    in_environment("BELLCRIER_ACCOUNTS__ENCOM__TOKEN_FILE", "nowhere", "there is no file that it names"),
    Start((("the credential SLACK_APP_TOKEN: ", "this secret belongs in SLACK_BOT_TOKEN"),), env={"SLACK_APP_TOKEN": "", "CREDENTIALS_DIRECTORY": "credentials"}),
]  # fmt: skip
NO_DATABASE = [
    Start((("database_url in bellcrier.toml: ", "there is no database bellcrier.db. Name another, or make it with `bellcrier db upgrade`."),), words=words)
    for words in (("export",), ("db", "check"), ("db", "backup", "save.gz"))
]  # fmt: skip
STARTS = [
    *IN_THE_FILE, *THE_FILE_ITSELF, *AT_THE_CONFIG, *IN_THE_ENVIRONMENT, *IN_DOTENV, *IN_FILES, *NO_DATABASE,
]  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty folder to start in, with nothing of ours in the environment."""
    for name in os.environ:
        if name.startswith(("BELLCRIER_", "CREDENTIALS_DIRECTORY", *CONVENTIONAL)):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    mask = os.umask(0o077)
    yield tmp_path
    os.umask(mask)
    set_up("warning")


def prepare(start: Start, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    above = start.toml if isinstance(start.toml, bytes) else start.toml.encode()
    (folder / "bellcrier.toml").write_bytes(above + b"\n" + GOOD.encode())
    if start.dotenv is not None:
        (folder / ".env").write_bytes(start.dotenv if isinstance(start.dotenv, bytes) else start.dotenv.encode())
    (folder / "empty").touch()
    (folder / "latin").write_bytes(b"\xe9")
    (folder / "app").write_text(f"xapp-{CANARY}\n")
    (folder / "credentials").mkdir()
    (folder / "credentials" / "SLACK_APP_TOKEN").write_text(f"xoxb-{CANARY}")
    for name, value in (TOKENS | dict(start.env)).items():
        monkeypatch.setenv(name, value)


def lines_of(*words: str, code: int = 2) -> list[str]:
    """The lines on standard error, each without the program's name."""
    ran = CliRunner().invoke(main, words)
    assert ran.exit_code == code, ran.output
    assert ran.stdout == ""
    assert "unexpected" not in ran.stderr
    assert CANARY not in ran.stderr
    lines = ran.stderr.splitlines()
    assert [line for line in lines if not line.startswith("bellcrier: ")] == []
    return [line.removeprefix("bellcrier: ") for line in lines]


def test_there_are_enough_of_them() -> None:
    assert len(STARTS) >= 150


@pytest.mark.parametrize(
    "start", STARTS, ids=lambda start: "; ".join(begins + part for begins, part in start.said)[:90]
)
def test_a_wrong_start_is_told_in_one_line_with_the_fix(
    start: Start, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare(start, folder, monkeypatch)
    lines = lines_of(*start.words, code=start.code)
    assert len(lines) == len(start.said), lines
    for line, (begins, part) in zip(lines, start.said, strict=True):
        assert line.startswith(begins)
        assert part in line
    assert not [made for made in folder.glob("bellcrier.db*") if made.suffix != ".key"]


@pytest.mark.parametrize("command", ["run", "db check", "export", "erase +33612345678", "doctor"])
def test_postgresql_without_its_package_is_told_with_what_installs_it(
    command: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    env = {"DATABASE_URL": f"postgresql://u:{CANARY}@127.0.0.1:1/x", "BELLCRIER_SECRET_KEY": "QUJD" * 10 + "QUI="}
    prepare(
        Start((), env=env | {"SLACK_BOT_TOKEN": "" if command == "doctor" else TOKENS["SLACK_BOT_TOKEN"]}),
        folder,
        monkeypatch,
    )
    monkeypatch.setitem(sys.modules, "asyncpg", None)
    said = "PostgreSQL needs another package. Run `pip install -c constraints.txt '.[postgres]'`."
    if command == "doctor":
        assert f"ERROR   database: {said}\n" in CliRunner().invoke(main, ["doctor"]).stdout
    else:
        assert lines_of(*command.split(), code=1) == [said]


def test_everything_wrong_is_told_at_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also what another part of the program finds: a policy, an account, a token that is missing."""
    wrong = (
        'mode = "prod"\n'
        + OCTO.replace("key-1", "your-key")
        + '[policies.shop]\nextends = "frr"\n[audiences.a]\nid = "1"\n'
    )
    env = {"SLACK_BOT_TOKEN": "", "BELLCRIER_GRACE": "soon", "BELLCRIER_AUDIENCES__CLIENTS__POLICY": "moon"}
    prepare(Start((), wrong, env), folder, monkeypatch)
    names = [line.split(": ")[0] for line in lines_of("run")]
    in_the_file = [
        f"{name} {FILE}" for name in ("mode", "audiences.a.account", "policies.shop.extends", "accounts.octo.api_key")
    ]
    variables = [
        "BELLCRIER_GRACE in the environment",
        "SLACK_BOT_TOKEN",
        "BELLCRIER_AUDIENCES__CLIENTS__POLICY in the environment",
    ]
    assert sorted(names) == sorted([*in_the_file, *variables])


def test_policies_and_accounts_are_told_together_where_the_rest_is_right(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong = (
        OCTO.replace("key-1", "your-key") + '[policies.shop]\nextends = "frr"\n[policies.fr]\ntimezone = "Mars/Base"\n'
    )
    prepare(Start((), wrong), folder, monkeypatch)
    names = {line.split(": ")[0].removesuffix(f" {FILE}") for line in lines_of("run")}
    assert names == {"policies.shop.extends", "policies.fr.timezone", "accounts.octo.api_key"}


SETTINGS = [
    (*(step if step != "*" else "x" for step in place), name)
    for place, table in TABLES.items()
    if place != ("approval", "rules", "*")
    for name in table.model_fields
]
ODD: tuple[Any, ...] = (CANARY, "", -7, 1e300, True, [CANARY], [[]], {"x": CANARY}, [{"x": 1}])


def written_in_a_table(steps: tuple[str, ...], value: Any) -> dict[str, Any]:
    return {steps[0]: written_in_a_table(steps[1:], value)} if steps else value


@pytest.mark.parametrize("steps", SETTINGS, ids=".".join)
def test_no_odd_value_of_any_setting_does_more_than_be_told(steps: tuple[str, ...]) -> None:
    """Each setting, with each kind of value: it is taken, or told by its name without its value."""
    told = 0
    for value in ODD:
        tree = written_in_a_table(steps, value)
        _, wrong = what_is_right(Written(tree, "bellcrier.toml", tree))
        assert not [line for line in wrong if CANARY in line or "Input should" in line]
        told += any(line.startswith((".".join(steps), f"{'.'.join(steps[:-1])} in")) for line in wrong)
    assert told >= 3


@pytest.mark.parametrize("steps", SETTINGS, ids=".".join)
def test_the_same_from_the_environment(steps: tuple[str, ...], folder: Path) -> None:
    name, is_table = "BELLCRIER_" + "__".join(steps).upper(), steps in TABLES or (*steps, "*") in TABLES
    for value in (CANARY, "", "-7", "1e999", "[", "\x00", "é" * 999):
        for variable, must_be_told in ((name, is_table), (f"{name}__X", not is_table)):
            _, wrong = load_what_is_right(None, {variable: value})
            assert not [line for line in wrong if CANARY in line or "Input should" in line]
            assert not must_be_told or [line for line in wrong if line.startswith(f"{variable} in the environment: ")]


# --- where to listen -------------------------------------------------------------------------------------------------

NOBODYS = "203.0.113.9"  # RFC 5737: an address of no machine


@pytest.mark.parametrize("host", [NOBODYS, "..", "2001:db8::1"])
async def test_an_address_that_is_not_this_machines_is_told_by_the_setting_that_names_it(host: str) -> None:
    with pytest.raises(SettingsError) as why:
        await listening_sockets(Endpoint(host, 8080, "BELLCRIER_HOST in the environment"), 1)
    (line,) = why.value.lines
    assert line.startswith(f"BELLCRIER_HOST in the environment: {host} is no address")
    assert "Write one that is, such as 127.0.0.1, or 0.0.0.0 for all of them." in line


async def test_a_port_that_is_taken_is_told_by_the_setting_that_names_it() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(CannotStart) as why:
            await listening_sockets(Endpoint("127.0.0.1", port, *["metrics_listen in bellcrier.toml"] * 2), 1)
    assert str(why.value) == f"Port {port} on 127.0.0.1 is taken. Choose another with metrics_listen in bellcrier.toml."


async def test_a_name_of_several_addresses_is_listened_on_at_each() -> None:
    sockets = await listening_sockets(Endpoint("localhost", 0), 1)
    assert {one.getsockname()[0] for one in sockets} & {"127.0.0.1", "::1"}
    for one in sockets:
        one.close()


@pytest.mark.parametrize("code", [errno.EACCES, errno.EPERM])
def test_a_port_without_the_right_to_it_is_not_called_taken(code: int) -> None:
    (line,) = refusal(OSError(code, os.strerror(code)), Endpoint("192.0.2.1", 80)).lines  # type: ignore[union-attr]
    assert (
        line
        == "--port: this user may not listen on port 80. Choose one of 1024 or more, and let a proxy listen on the other."
    )


@pytest.mark.parametrize("port", ["0", "99999", "-1", "http"])
def test_a_port_that_is_none_is_told_with_its_range(port: str) -> None:
    ran = CliRunner().invoke(main, ["run", "--port", port])
    assert ran.exit_code == 2
    assert "Invalid value for '--port'" in ran.stderr.splitlines()[-1]


# --- shown without secrets -------------------------------------------------------------------------------------------

SHOWN = f"""
allow_private_hosts = true
public_url = "https://bell:{CANARY}1@bell.example.org/x?key={CANARY}2"
slack_api_url = "https://u:{CANARY}3@slack.example/api/"
database_url = "postgresql://bell:{CANARY}4@db.example:5432/bell?sslmode=require&sslpassword={CANARY}5"
secret_key = "{"QUJD" * 10}QUI="
slack_bot_token = "xoxb-{CANARY}6"
slack_signing_secret = "{CANARY}7"
[accounts.octo]
provider = "octopush"
login = "{CANARY}8"
api_key = "{CANARY}9"
base_url = "https://u:{CANARY}10@api.example?token={CANARY}11"
sender = "Bell"
[accounts.gone]
provider = "an adapter that is not installed"
base_url = "https://gone.example"
pin = "{CANARY}12"
deep = {{ down = {{ here = "{CANARY}13" }} }}
"""


def test_the_settings_are_shown_without_their_secrets(folder: Path) -> None:
    (folder / "bellcrier.toml").write_text(SHOWN)
    ran = CliRunner().invoke(main, ["config", "show"])
    assert ran.exit_code == 0, ran.output
    assert CANARY not in ran.output
    assert "QUJD" not in ran.output
    shown = json.loads(ran.stdout)
    assert shown["database_url"] == "postgresql://bell:***@db.example:5432/bell?sslmode=require"
    assert shown["slack_api_url"] == "https://***@slack.example/api/"
    assert shown["allow_private_hosts"] is True
    assert shown["accounts"]["octo"]["sender"] == "Bell"
    assert shown["accounts"]["gone"]["base_url"] == "https://gone.example"
    assert shown["accounts"]["gone"]["deep"] == "***"


class OfAnAdapter(AccountSettings):
    region: str
    pepper: SecretStr
    phrases: dict[str, SecretStr]
    maybe: SecretStr | None = None


def test_what_an_adapter_declares_as_a_secret_is_masked_whatever_its_name() -> None:
    account = {"provider": "acme", "region": "eu", "pepper": CANARY, "maybe": CANARY, "phrases": {"a": CANARY}}
    settings = parse({"accounts": {"acme": account}})
    shown = masked(settings, {"acme": OfAnAdapter})["accounts"]["acme"]
    assert shown == {"provider": "acme", "region": "eu", "pepper": "***", "maybe": "***", "phrases": "***"}
