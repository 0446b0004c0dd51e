"""Every preset has the shape that the document says."""

import msgspec
import pytest

from quart_app.forms import presets
from quart_app.web.shapes.presets import PresetItem, PresetView


@pytest.mark.parametrize("id_", list(presets.catalogue()))
def test_each_preset_as_it_is_answered_has_its_shape(id_: str) -> None:
    preset = presets.find(id_)
    PresetView.model_validate_json(msgspec.json.encode(presets.view(preset)), strict=True)
    PresetItem.model_validate_json(msgspec.json.encode(presets.listed(preset)), strict=True)
