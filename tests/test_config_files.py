# SPDX-License-Identifier: Apache-2.0
import pytest

from lipjax.config_files import load_config
from lipjax.errors import ConfigError

FILE = "configs/at_a_glance.py"


def test_overrides_keep_types():
    config = load_config(
        f"{FILE}:tiny",
        overrides=[
            "--config.train.steps=7",
            "--config.optimizer.learning_rate=1",
            "--config.data.dirs=a,b/c",
            "--config.data.batch_size=3",
        ],
    )
    assert config.train.steps == 7
    assert config.optimizer.learning_rate == 1.0
    assert isinstance(config.optimizer.learning_rate, float)
    assert config.data.dirs == ("a", "b/c")
    assert config.data.batch_size == 3


@pytest.mark.parametrize(
    ("word", "says"),
    [
        ("--config.train.step=7", "did you mean 'steps'"),
        ("--config.trian.steps=7", "did you mean 'train'"),
        ("--config.train.steps=many", "cannot read 'many'"),
        ("--config.train.steps=1.5", "is no int"),
        ("--config.train.steps", "VALUE"),
        ("--config.train.steps.more=1", "has no 'more'"),
    ],
)
def test_wrong_words_name_the_way_out(word, says):
    with pytest.raises(ConfigError, match=says):
        load_config(f"{FILE}:tiny", overrides=[word])


def test_wrong_file_and_variant():
    with pytest.raises(ConfigError, match="at_a_glance.py"):
        load_config("configs/at_a_glanse.py:tiny")
    with pytest.raises(ConfigError, match="did you mean 'grid'"):
        load_config(f"{FILE}:gird")
    assert load_config("elsewhere/at_a_glance.py:tiny").task == "at_a_glance"
