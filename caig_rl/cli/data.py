"""`caig-rl data`: catalogs and click logs."""

from __future__ import annotations

import typer
from rich.markup import escape
from rich.table import Table

from caig_rl.cli.common import ConfigFile, Overrides, console, explained, resolved_config, sources

app = typer.Typer(help="Catalogs and click logs.", no_args_is_help=True)


@app.command("inspect")
def data_inspect(config: ConfigFile = None, overrides: Overrides = None) -> None:
    """Read a catalog and say what is in it: products, categories, cut-outs, and every rejected row with its reason."""
    from caig_rl.data.inspect import inspect_catalog

    with explained():
        source, _, _ = sources(resolved_config(config, overrides))
        summary = inspect_catalog(source)
        console.print(f"{summary.num_products} products, {sum(r.count for r in summary.rejected.values())} rows rejected")
        table = Table("category", "products")
        for name, count in summary.categories.items():
            table.add_row(escape(name), str(count))
        console.print(table)
        console.print("cut-outs: " + ", ".join(f"{count} by {method}" for method, count in summary.methods.items()))
        if summary.confidence:
            console.print("confidence of made cut-outs: " + ", ".join(f"{q:.0%} {value:.2f}" for q, value in summary.confidence.items()))
        for reason, rejection in summary.rejected.items():
            console.print(
                f"[yellow]{reason}[/] {rejection.count}",
                *(f"  {escape(example)}" for example in rejection.examples),
                sep="\n",
                highlight=False,
            )
