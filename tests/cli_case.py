"""Commands as tests call them."""

import pytest
from typer.testing import CliRunner

from kzoo import cli


def run(*arguments):
    """Exit code and output of a command, ended as `main` ends it."""
    return CliRunner().invoke(cli.app, list(map(str, arguments)))


def fails(capsys, monkeypatch, *arguments):
    """Exit code of `kzoo ARGUMENTS` and the sentence that it leaves on standard error."""
    monkeypatch.setattr(cli.sys, "argv", ["kzoo", *map(str, arguments)])
    with pytest.raises(SystemExit) as caught:
        cli.main()
    return caught.value.code, capsys.readouterr().err
