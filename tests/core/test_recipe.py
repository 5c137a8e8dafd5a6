from __future__ import annotations

import pytest

from photon_triage.core.common.errors import RecipeError
from photon_triage.core.recipe import load_recipe, parse_recipe, shipped_recipes

HEAD = 'name = "mine"\n'


def test_every_shipped_recipe_loads_under_its_own_name() -> None:
    assert {"spi", "sfx"} <= set(shipped_recipes())
    for name in shipped_recipes():
        assert load_recipe(name).name == name


def test_the_published_path_is_a_recipe() -> None:
    recipe = load_recipe("spi")
    assert recipe.prepare.roi is not None
    assert (recipe.prepare.roi.height, recipe.prepare.roi.width) == (123, 240)
    assert [stage.kind for stage in recipe.stages] == ["lit-pixels", "size", "classify"]
    assert recipe.stages_before_network == 2


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ('[prepare]\nscale = "cubic"\n[[stages]]\nkind = "spots"\n', 3, ["scale", "'cubic'", "'linear' or 'log'"]),
        ('[[stages]]\nkind = "spotz"\n', 2, ["spotz", "lit-pixels", "classify"]),
        ('[[stages]]\nkind = "spots"\nmin_spot = 3\n', 4, ["min_spot", "unknown key", "min_spots"]),
        ('[[stages]]\nkind = "spots"\n[[stages]]\nkind = "size"\n', 4, ["min_diameter_nm", "missing"]),
        (
            '[[stages]]\nkind = "size"\nmin_diameter_nm = 80\nmax_diameter_nm = 60\n',
            2,
            ["min_diameter_nm (80) must be below"],
        ),
        ('[geometry]\npixel_size = -1\n[[stages]]\nkind = "spots"\n', 3, ["pixel_size", "greater than 0"]),
        ('[prepare]\ncolor = "jet"\n[[stages]]\nkind = "spots"\n', 3, ["color", "colour"]),
        ('[[stages]]\nkind = "classify"\nmodel = "m"\nthreshold = 1.5\n', 5, ["threshold", "1.5"]),
    ],
)
def test_errors_name_the_line_and_what_is_allowed(text: str, line: int, words: list[str]) -> None:
    with pytest.raises(RecipeError) as caught:
        parse_recipe(HEAD + text, "mine.toml")
    message = str(caught.value)
    assert f"line {line}" in message and "mine.toml" in message
    assert all(word in message for word in words), message


def test_toml_errors_name_the_line_too() -> None:
    with pytest.raises(RecipeError, match="line 2"):
        parse_recipe('name = "x"\nstages = oops\n', "broken.toml")


def test_a_missing_recipe_names_the_shipped_ones() -> None:
    with pytest.raises(RecipeError, match=r"nowhere.*spi"):
        load_recipe("nowhere")


def imaging(**patches: object) -> str:
    lines = "".join(f"{key} = {value!r}\n" for key, value in patches.items()).replace("'", '"')
    return (
        f'name = "x"\n[[stages]]\nkind = "segment"\nmodel = "a"\n\n[[stages]]\nkind = "patches"\nmodel = "b"\n{lines}'
    )


def test_a_recipe_that_searches_lists_candidates() -> None:
    recipe = parse_recipe(imaging(within="membrane", threshold=0.7), "x")
    assert (recipe.unit, recipe.default_threshold, recipe.reads_images) == ("candidates", 0.7, True)
    assert [stage.kind for stage in recipe.networks] == ["segment", "patches"]


def test_a_label_belongs_to_the_candidates_within_the_distance_between_two() -> None:
    assert parse_recipe(imaging(min_distance=7.5), "x").label_radius == 7.5
    assert load_recipe("spi").label_radius == 0.0


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ('name = "x"\n[[stages]]\nkind = "patches"\nmodel = "b"\nwithin = "wall"', "a segment stage must stand before"),
        (
            imaging() + '\n[[stages]]\nkind = "segment"\nmodel = "c"',
            "each kind of network may stand in the stages once",
        ),
        (
            imaging() + '\n[[stages]]\nkind = "classify"\nmodel = "c"',
            "patches and classify may not stand in one recipe",
        ),
        (imaging(min_distance=0), "line 9, stages.1.min_distance: got 0"),
    ],
)
def test_stages_that_do_not_fit_each_other_are_refused(text: str, complaint: str) -> None:
    with pytest.raises(RecipeError, match=complaint):
        parse_recipe(text, "x")
