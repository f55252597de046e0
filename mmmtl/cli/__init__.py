"""What the command lines share: arguments, the config that they name, and errors in one line."""

from .arguments import (
    DTYPES,
    add_common_arguments,
    add_config_arguments,
    add_fit_argument,
    add_inferencer_arguments,
    add_shape_argument,
    add_shown_range_argument,
    add_timing_arguments,
    check_cli_outputs,
    chosen_size,
    config_of,
    inferencer_options,
    parse_curve_arguments,
    start_clock,
)
from .errors import readable_errors
from .values import choices, device, not_negative, positive, positive_number

__all__ = [
    'DTYPES',
    'add_common_arguments',
    'add_config_arguments',
    'add_fit_argument',
    'add_inferencer_arguments',
    'add_shape_argument',
    'add_shown_range_argument',
    'add_timing_arguments',
    'check_cli_outputs',
    'choices',
    'chosen_size',
    'config_of',
    'device',
    'inferencer_options',
    'not_negative',
    'parse_curve_arguments',
    'positive',
    'positive_number',
    'readable_errors',
    'start_clock',
]
