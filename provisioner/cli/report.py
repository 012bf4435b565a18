"""``provision report``: a page or a picture of a run."""

from __future__ import annotations

from pathlib import Path

import click


@click.command(short_help="Make an HTML page of a run.")
@click.argument("run", required=False, default="")
@click.option("-o", "--output", type=click.Path(), metavar="FILE", help="The file to write.  [default: RUN.html]")
@click.option("--svg", is_flag=True, help="Only the picture of the hosts, for a README.")
@click.option("--open", "show", is_flag=True, help="Open it in the browser.")
def report(run: str, output: str | None, svg: bool, show: bool) -> None:
    """Make one HTML page of a check or another run: hosts, differences, failures, timeline.

    RUN is a run log or the beginning of its name; without it, the newest run is taken. No host is contacted. The page
    needs no network and holds no secret.
    """
    from provisioner.errors import InputError
    from provisioner.portable import put_in_place
    from provisioner.report.page import html_page, svg_picture
    from provisioner.report.replay import find_run, read_run
    from provisioner.report.runlog import runs_folder

    told = read_run(find_run(run, runs_folder()))
    final = Path(output or told.name + (".svg" if svg else ".html")).absolute()
    aside = final.with_name(final.name + ".part")
    try:
        aside.write_text(svg_picture(told) if svg else html_page(told), encoding="utf-8")
        put_in_place(aside, final)
    except OSError as error:
        raise InputError(
            f"{final} can't be written: {error.strerror or error}", remedy="name another one: -o"
        ) from None
    click.echo(str(final))
    if show and not _opened(final):
        click.echo("provision: no browser could be started: open the file by hand", err=True)


def _opened(page: Path) -> bool:
    import webbrowser

    return webbrowser.open(page.as_uri())
