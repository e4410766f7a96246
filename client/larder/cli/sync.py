"""`larder sync`: send what offline or killed runs have left on this machine."""

import click

from larder import config
from larder.cli import output
from larder.contract import tenants
from larder.contract.endpoint import Nothing
from larder.journal import shipper


@click.command("sync")
@click.option("--home", type=click.Path(file_okay=False), help="Home folder; LARDER_HOME unless given.")
@output.as_json
def sync(home: str | None, as_json: bool) -> None:
    """Send what offline or killed runs have left on this machine. Sending twice stores nothing twice."""
    config.connect().call(tenants.WHOAMI, Nothing())  # out of reach or refused: one sentence, not one for each run
    report = shipper.sync(home, report=output.say)
    if as_json:
        output.document(report)
    else:
        for run_id in report.sent:
            click.echo(run_id)
    output.say(
        f"{len(report.sent)} runs sent with {report.records} records, {len(report.alive)} still running,"
        f" {len(report.waiting)} could not be sent, {len(report.refused)} refused."
    )
    if report.lost_records:
        output.say(f"{report.lost_records} records were lost: torn, or said after the end of their run.")
    if report.waiting or report.refused:
        raise click.exceptions.Exit(1)
