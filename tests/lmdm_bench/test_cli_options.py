"""An option that several commands share means the same in each."""

from typing import Any

import pytest
import typer.main

from lmdm_bench import cli

SHARED = (
    "--attention",
    "--block-frames",
    "--checkpoint",
    "--context-frames",
    "--device",
    "--guidance",
    "--input",
    "--lmm-block-frames",
    "--lmm-context-frames",
    "--lmm-levels",
    "--lmm-model",
    "--sampler",
    "--steps",
)


@pytest.mark.parametrize("name", SHARED)
def test_a_shared_option_has_one_meaning_and_one_default(name: str) -> None:
    group: Any = typer.main.get_command(cli.app)
    found = [
        (command.name, option.help, option.default)
        for command in group.commands.values()
        for option in command.params
        if name in option.opts
    ]
    assert len(found) > 1
    assert len({(text, default) for _, text, default in found}) == 1
