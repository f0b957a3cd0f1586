"""What stops at the door: errors, checks of fields and arguments, the gate for code that strings name."""

from __future__ import annotations

from .arguments import Count, NotNegative, Positive, Seed, Share, Total, checked
from .entry_points import (
    AllowImports,
    call_entry_point,
    check_import,
    import_module,
    load_entry_point,
    load_object,
    trusted,
    untrusted,
)
from .errors import (
    TokenGymError,
    TooManyNodesError,
    TooManyStatesError,
    finite_number,
    flag,
    positive_int,
    unknown_name,
    whole_number,
)
from .fields import ClassT, Range, check_fields, check_value, described, from_mapping, shown
from .visibility import visible

__all__ = [
    "AllowImports",
    "ClassT",
    "Count",
    "NotNegative",
    "Positive",
    "Range",
    "Seed",
    "Share",
    "TokenGymError",
    "TooManyNodesError",
    "TooManyStatesError",
    "Total",
    "call_entry_point",
    "check_fields",
    "check_import",
    "check_value",
    "checked",
    "described",
    "finite_number",
    "flag",
    "from_mapping",
    "import_module",
    "load_entry_point",
    "load_object",
    "positive_int",
    "shown",
    "trusted",
    "unknown_name",
    "untrusted",
    "visible",
    "whole_number",
]
