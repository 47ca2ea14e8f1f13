"""The configuration of a run: one validated tree, from YAML and dotted overrides."""

from caig_rl.config.keys import KeyInfo, describe_keys
from caig_rl.config.load import config_yaml, load_config, write_config
from caig_rl.config.schema import Config

__all__ = ["Config", "KeyInfo", "config_yaml", "describe_keys", "load_config", "write_config"]
