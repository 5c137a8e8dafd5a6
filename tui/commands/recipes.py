"""`photon-triage recipes`: what recipes there are."""

from __future__ import annotations

from typing import Annotated

import typer

from photon_triage.tui.commands.output import say, say_json, say_table


def recipes(
    show: Annotated[str | None, typer.Option(metavar="NAME", help="Print this recipe, shipped or a file.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List the shipped recipes, or print one to begin your own with."""
    from photon_triage.core.recipe import load_recipe, parse_recipe, recipe_text, shipped_recipes

    if show is not None:
        text = recipe_text(show)
        recipe = parse_recipe(text, show)
        if as_json:
            say_json({"name": recipe.name, "title": recipe.title, "text": text, "recipe": recipe.model_dump()})
        else:
            for line in text.splitlines():
                say(line)
        return
    shipped = [load_recipe(name) for name in shipped_recipes()]
    if as_json:
        say_json([{"name": recipe.name, "title": recipe.title} for recipe in shipped])
    else:
        say_table((recipe.name, recipe.title) for recipe in shipped)
