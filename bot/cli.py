"""The commands a shell sees. Each imports what it needs when it runs, so that `--help` answers at once."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bot.cli_data import db, export
from bot.cli_erase import erase
from bot.shell import (
    FINE,
    USAGE,
    WRONG,
    config_option,
    fail,
    group_config_option,
    guarded,
    on_database,
    settings_from,
)

if TYPE_CHECKING:
    from bot.config.settings import Settings


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@group_config_option
@click.version_option(package_name="bellcrier", prog_name="bellcrier")
def main() -> None:
    """bellcrier: broadcasts from Slack, sent once, and only after approval."""
    os.umask(0o077)  # what it writes holds texts and tokens, and is for this user alone


main.add_command(db)
main.add_command(export)
main.add_command(erase)


@main.command()
@config_option
@click.option("--host", help="The address to listen on. Default: 127.0.0.1 in Socket Mode, else 0.0.0.0.")
@click.option("--port", default=8080, show_default=True, type=click.IntRange(1, 65535))
@guarded
def run(config: Path | None, host: str | None, port: int) -> None:
    """Run the bot: over Socket Mode with an app token, else over HTTP."""
    gc.disable()  # a start keeps nearly all that it makes, and would look through it for rubbish a hundred times
    try:
        settings = _settings_to_run(config)
        _log(settings)
        from bot import process

        place = host or settings.listening_host
        sys.exit(_loop(process.run(settings, host=place, port=port, ready=_listening)))
    finally:
        gc.enable()


def _listening(url: str) -> None:
    gc.freeze()
    gc.enable()
    click.echo(f"Listening on {url}")


def _settings_to_run(config: Path | None) -> Settings:
    """The settings of a bot. Whatever is wrong with them is told at once."""
    from bot.config.load import load_what_is_right, missing_of_slack

    settings, wrong = load_what_is_right(config)
    if settings.written().tree:  # else nothing of them could be read
        wrong += missing_of_slack(settings)
    if wrong:
        from bot.adapters import wrong_with_accounts_and_policies

        fail(*wrong, *wrong_with_accounts_and_policies(settings), code=USAGE)
    return settings


def _log(settings: Settings) -> None:
    from bot.logs import set_up

    set_up(settings.log_level)


def _loop(work: Coroutine[Any, Any, Any]) -> Any:
    import asyncio

    return asyncio.run(work)


@main.command()
@click.option("--port", default=8055, show_default=True, type=click.IntRange(1, 65535), help="The page's port.")
@click.option("--data", type=click.Path(path_type=Path, file_okay=False), default=Path(".bellcrier/demo"))
@click.option("--fresh", is_flag=True, help="Delete the data of an earlier demo.")
@guarded
def demo(port: int, data: Path, fresh: bool) -> None:
    """Try everything on this machine: the real bot with a pretend workspace and pretend vendors."""
    from bot.demo import run_demo
    from bot.logs import set_up

    data.mkdir(parents=True, exist_ok=True)
    set_up("warning")
    sys.exit(_loop(run_demo(data, port, fresh=fresh)))


@main.command()
@click.option("--port", default=8055, show_default=True, type=click.IntRange(0, 65535))
@click.option("--events-url", help="Send to a bot over signed HTTP at this address instead of Socket Mode.")
@guarded
def sandbox(port: int, events_url: str | None) -> None:
    """Run the pretend workspace and vendors alone, to develop against."""
    from bot.demo import run_sandbox
    from bot.logs import set_up

    set_up("warning")
    sys.exit(_loop(run_sandbox(port, events_url)))


@main.command()
@config_option
@click.option("--json", "as_json", is_flag=True, help="Findings as JSON.")
@guarded
def doctor(config: Path | None, as_json: bool) -> None:
    """Check settings, database, Slack, and every account. Changes nothing."""
    import json

    from bot.config.load import load_what_is_right, settings_files
    from bot.doctor.examination import examine, unreadable
    from bot.logs import set_up

    settings, wrong = load_what_is_right(config)
    if wrong and not settings.model_fields_set:  # nothing can be read
        findings = unreadable(wrong)
    else:
        set_up("error")  # to standard error
        findings = _loop(examine(settings, settings_files(config), wrong))
    if as_json:
        click.echo(json.dumps([finding.as_dict() for finding in findings], indent=2))
    else:
        for finding in findings:
            click.echo(f"{finding.level.upper():7} {finding.id}: {finding.cause} {finding.fix}".rstrip())
    sys.exit(USAGE if wrong else WRONG if any(finding.level == "error" for finding in findings) else FINE)


@main.group()
@group_config_option
def config() -> None:
    """The settings file."""


@config.command("init")
@config_option
@click.option("--force", is_flag=True, help="Overwrite an existing file.")
@guarded
def config_init(config: Path | None, force: bool) -> None:
    """Write a commented settings file here, or as --config says."""
    from bot.config.sources import FILE

    path = config or Path(FILE)
    if path.exists() and not force:
        fail(f"{path} is there already. Use --force to overwrite it.")
    example = Path(__file__).with_name("example.toml").read_text(encoding="utf-8")
    path.write_text(example, encoding="utf-8")
    click.echo(f"Wrote {path}. Fill in the accounts, then try `bellcrier doctor`.")


@config.command("show")
@config_option
@guarded
def config_show(config: Path | None) -> None:
    """Show the effective settings, secrets masked, and what admins changed in Slack."""
    import json

    from bot.config.masking import masked
    from providers import registry as known

    models = {name: vendor.Settings for name, vendor in known.providers().items()}
    settings = masked(settings_from(config), models)
    if set_in_slack := _set_in_slack(config):
        settings["set_in_slack"] = set_in_slack
    click.echo(json.dumps(settings, indent=2, ensure_ascii=False))


def _set_in_slack(config: Path | None) -> dict[str, Any]:
    """What stands in place of the file's settings, by workspace. Nothing if there is no database that can tell."""
    from bot.config.load import sqlite_file
    from bot.domain.clock import moment
    from bot.storage.own_settings import all_own_settings

    file = sqlite_file(settings_from(config))
    if file is not None and not file.exists():
        return {}
    try:
        found = on_database(config, all_own_settings)
    except Exception as error:
        reason = f"{type(error).__name__} {error}".splitlines()[0]
        click.echo(f"bellcrier: the database does not tell what admins changed in Slack ({reason}).", err=True)
        return {}
    return {
        id: {**one.settings, "changed_by": one.changed_by, "changed_at": f"{moment(one.changed_at):%Y-%m-%dT%H:%M:%SZ}"}
        for id, one in found.items()
        if one.settings
    }


@config.command("reset")
@config_option
@click.argument("workspace")
@guarded
def config_reset(config: Path | None, workspace: str) -> None:
    """Take back what the admins of a workspace changed in Slack."""
    from bot.domain.clock import now
    from bot.storage.own_settings import reset_own_settings

    names = on_database(config, lambda c: reset_own_settings(c, workspace, now()), alone=True)
    if not names:
        fail(f"Nothing was changed in Slack for {workspace}. `bellcrier config show` names what was.")
    click.echo(f"These are the file's again in {workspace}: {', '.join(names)}.")


@main.command()
@click.option("--url", help="For HTTP mode: the address at which Slack reaches the bot.")
@guarded
def manifest(url: str | None) -> None:
    """Print the Slack app's manifest."""
    import yaml

    from bot.config.manifest import manifest_file
    from bot.config.settings import is_address

    if url is not None and not (url.startswith("https://") and is_address(url)):
        fail("--url: it must be an address that begins with https://, such as https://bell.example.org.", code=USAGE)
    content = yaml.safe_load(manifest_file().read_text(encoding="utf-8"))
    if url:
        _over_http(content, f"{url.rstrip('/')}/slack/events")
    click.echo(yaml.safe_dump(content, sort_keys=False, allow_unicode=True), nl=False)


def _over_http(content: dict[str, Any], address: str) -> None:
    content["settings"]["socket_mode_enabled"] = False
    content["oauth_config"]["redirect_urls"] = [address.replace("/slack/events", "/slack/oauth_redirect")]
    content["settings"]["event_subscriptions"]["request_url"] = address
    content["settings"]["interactivity"]["request_url"] = address
    content["settings"]["interactivity"]["message_menu_options_url"] = address  # for the audiences in the form
    for command in content["features"]["slash_commands"]:
        command["url"] = address


@main.command()
@guarded
def version() -> None:
    """Show the versions of the program, its schema, Python and the adapters."""
    import platform
    import sqlite3
    from importlib import metadata

    from bot.storage.tables import REVISION
    from providers import registry

    click.echo(f"bellcrier {metadata.version('bellcrier')}")
    click.echo(f"schema {REVISION}")
    click.echo(f"python {platform.python_version()}, sqlite {sqlite3.sqlite_version}")
    for name in sorted(registry.providers()):
        package = registry.packages.get(name)
        click.echo(f"adapter {name}, " + ("built in" if package is None else f"from {package} {_version_of(package)}"))
    for name, reason in sorted(registry.broken.items()):
        click.echo(f"adapter {name}, which cannot be used: {reason}")


def _version_of(package: str) -> str:
    from importlib import metadata

    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""


@main.command()
@guarded
def providers() -> None:
    """List the adapters and what each can do."""
    from providers.registry import broken
    from providers.registry import providers as known

    for name, vendor in sorted(known().items()):
        able = vendor.capabilities
        kinds = ", ".join(sorted(able.audiences))
        steps = "prepares, then sends" if able.two_step else "sends in one step"
        if able.recalls_staged:
            steps += ", can recall what it prepared"
        click.echo(f"{name}: {vendor.title}; {kinds}; {steps}; receipts: {able.receipts.replace('_', ' ')}")
        if able.legacy:
            click.echo(f"  {able.legacy}")
    for name, reason in sorted(broken.items()):
        click.echo(f"! {name} cannot be used: {reason}")


@main.command()
@click.option("--port", default=8080, show_default=True, type=click.IntRange(1, 65535))
@click.option("--ready", is_flag=True, help="Ask whether it can work: database, Slack, outbox.")
@guarded
def healthcheck(port: int, ready: bool) -> None:
    """For containers: exit 0 when the bot on this machine is alive, or ready."""
    import http.client

    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=3)
    try:
        connection.request("GET", "/readyz" if ready else "/healthz")
        status = connection.getresponse().status
    except OSError:
        fail(f"Nothing answers on port {port}.")
    finally:
        connection.close()
    sys.exit(FINE if status == 200 else WRONG)


@main.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@guarded
def completion(shell: str) -> None:
    """Print the shell's completion script."""
    from click.shell_completion import get_completion_class

    found = get_completion_class(shell)
    if found is not None:
        click.echo(found(main, {}, "bellcrier", "_BELLCRIER_COMPLETE").source())


if __name__ == "__main__":
    os.environ.setdefault("PYTHONUNBUFFERED", "1")
    main()
