"""Sources that several files of tests cut and export: each is rendered once."""

import pytest

from tests.support.codecs import Source, measure_source, render


@pytest.fixture(scope="session")
def source(tmp_path_factory):
    """Sources by the name of their layout, each rendered once."""
    folder, made = tmp_path_factory.mktemp("sources"), {}

    def get(name: str) -> Source:
        if name not in made:
            made[name] = measure_source(render(name, folder))
        return made[name]

    return get
