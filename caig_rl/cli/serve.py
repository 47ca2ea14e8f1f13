"""`caig-rl serve`: creatives on demand, and which policy makes them."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from caig_rl.cli.common import (
    ConfigFile,
    Overrides,
    check_root,
    check_writable,
    console,
    explained,
    resolved_config,
    share_above_zero,
    sources,
)
from caig_rl.serving.choice.arms import Routing
from caig_rl.wording import duration

app = typer.Typer(help="The service: creatives on demand, the studio page, and clicks that flow back.", no_args_is_help=True)

Root = Annotated[Path, typer.Option(help="The service's folder, serve.root.")]


@app.command("run")
def serve_run(
    config: ConfigFile = None,
    overrides: Overrides = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the plan that `serve deploy` takes, and stop.")] = False,
) -> None:
    """Start the service and keep it up until Ctrl-C. The first start makes an API key and shows it."""
    with explained():
        settings = resolved_config(config, overrides)
        if dry_run:
            import yaml

            from actors.serve.deployment_plan import deployment_plan

            plan = deployment_plan(settings.model_dump(mode="json"), settings.serve.host, settings.serve.port)
            console.print(yaml.safe_dump(plan, sort_keys=False), markup=False, highlight=False, soft_wrap=True)
            return
        from actors.serve.lifecycle import run_service
        from caig_rl.serving.keys import KeyRing

        root = Path(settings.serve.root)
        check_writable(root, "serve.root")
        ring = KeyRing(root)

        def ready(address: str) -> None:
            # Only now: the key of a start that failed would never have been seen.
            key = None if ring.tenants() else ring.add("demo")
            console.print(f"serving at {address}   API document: {address}/openapi.json", highlight=False, soft_wrap=True)
            if key is not None:
                console.print(f"a key for tenant demo, shown once: {key}\nstudio: {address}/#key={key}", highlight=False, soft_wrap=True)
            else:
                known = f"keys: {', '.join(ring.tenants())}; another with `caig-rl serve key TENANT`"
                console.print(f"studio: {address}/ (asks for a key)\n{known}", highlight=False, soft_wrap=True)

        # A Ctrl-C before Ray is up; later ones end the service in good order.
        with suppress(KeyboardInterrupt):
            run_service(settings, console.print, ready)
        console.print("stopped")


@app.command("promote")
def serve_promote(
    run: Annotated[str, typer.Argument(metavar="RUN[@STEP]", help="A run folder; its newest checkpoint, or the one named.")],
    traffic: Annotated[
        float, typer.Option(callback=share_above_zero, help="Share of visitors; less than 1 tries it beside the live version.")
    ] = 1.0,
    name: Annotated[str | None, typer.Option(help="Name of the version. Default: run name and step.")] = None,
    root: Root = Path("serving"),
) -> None:
    """Bring a trained policy live on the running service, without a restart or a dropped request, if it holds up on held-out products."""
    from actors.serve.promotion import promote
    from caig_rl.config.schema import Config
    from caig_rl.interfaces import ProductSource

    def held_out(config: Config) -> ProductSource:
        return sources(config)[1]

    with explained():
        switch = promote(root, run, name, traffic, held_out, lambda text: console.print(escape(text), highlight=False, soft_wrap=True))
        found = switch.comparison
        console.print(
            f"mean reward on {found.products} held-out products: {found.live:+.3f} -> {found.new:+.3f} "
            f"(difference {found.interval.low:+.3f} to {found.interval.high:+.3f}, 95 %)\n"
            f"{_routing(switch.routing)} after {duration(switch.seconds)}",
            highlight=False,
            soft_wrap=True,
        )


@app.command("rollback")
def serve_rollback(root: Root = Path("serving")) -> None:
    """Go back: drop the version that is being tried, or bring back the one that was live before."""
    from actors.serve.version_switch import rollback

    with explained():
        switch = rollback(root)
        console.print(f"{_routing(switch.routing)} after {duration(switch.seconds)}", highlight=False)


def _routing(routing: Routing) -> str:
    tried = "" if routing.candidate is None else f", {routing.candidate} tried on {routing.traffic:.0%} of visitors"
    return f"live: {routing.live}{tried}"


@app.command("key")
def serve_key(tenant: Annotated[str, typer.Argument(help="Whose key: a-z, 0-9 and '-'.")] = "demo", root: Root = Path("serving")) -> None:
    """Make an API key for a tenant and print it. It is known to a running service at its first use."""
    from caig_rl.serving.keys import KeyRing

    with explained():
        check_root(root)
        check_writable(root, "--root")
        # Alone on the line, so that KEY=$(caig-rl serve key acme) works.
        typer.echo(KeyRing(root).add(tenant))


@app.command("log")
def serve_log(
    out: Annotated[Path, typer.Option(help="Parquet file to write.")] = Path("clicks.parquet"),
    tenant: Annotated[str | None, typer.Option(help="Of this tenant only.")] = None,
    root: Root = Path("serving"),
) -> None:
    """Write what was shown and clicked, in the schema that `data pairs` reads: with propensities, and where the pictures lie."""
    import pyarrow.parquet as pq

    from caig_rl.errors import UserError
    from caig_rl.serving.creatives.store import CreativeStore
    from caig_rl.serving.events.click_log import click_log, read_impressions

    with explained():
        check_root(root)
        log = click_log(read_impressions(root, tenant), CreativeStore(root))
        if not log.num_rows:
            raise UserError(f"the event log in {root} holds no impression" + (f" of tenant {tenant!r}." if tenant else "."))
        try:
            out.parent.mkdir(parents=True, exist_ok=True)
            pq.write_table(log, out)
        except OSError as error:
            raise UserError(f"--out {out}: no file that can be written ({error.strerror or error}); name another") from error
        impressions, clicks = (sum(log[name].to_pylist()) for name in ("impressions", "clicks"))
        console.print(f"wrote {escape(str(out))}: {log.num_rows} rows, {impressions} impressions, {clicks} clicks", highlight=False)
        console.print(f"its pictures: clicks.images={escape(str(root))}", highlight=False, soft_wrap=True)
