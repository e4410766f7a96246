"""`larder completion`: the script that makes a shell complete our commands."""

import click
from click.shell_completion import get_completion_class

from larder.cli.group import larder

_PLACES = {
    "bash": 'eval "$(larder completion bash)" in ~/.bashrc',
    "zsh": 'eval "$(larder completion zsh)" in ~/.zshrc',
    "fish": "larder completion fish > ~/.config/fish/completions/larder.fish",
}


@click.command("completion")
@click.argument("shell", type=click.Choice(list(_PLACES)))
def completion(shell: str) -> None:
    """Print the completion script of SHELL."""
    kind = get_completion_class(shell)
    if kind is None:
        raise click.UsageError(f"no completion for {shell}")
    click.echo(kind(larder, {}, "larder", "_LARDER_COMPLETE").source())
    click.echo(f"To have it always: {_PLACES[shell]}", err=True)
