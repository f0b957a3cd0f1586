"""A study: its file, its runs on worker processes, and the folders that they write."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...envs.lazy import lazy_names

if TYPE_CHECKING:
    from .check import at_place
    from .file import load_study, study_to_mapping
    from .folder import WARNINGS, RunFolder, plain, run_folder
    from .full_disk import REMEDY, is_disk_full
    from .lock import sole_use
    from .mappings import as_integers, as_mapping, is_int, parse_arguments
    from .packaged import descriptions, files_in, find_file, find_study, packaged_studies
    from .run import MODES, Saving, learn_and_seal, make_algorithm, newest, run_references
    from .runner import Event, run_study
    from .single_run import specification, take_up
    from .spec import AlgorithmSpec, EnvironmentSpec, RunSpec, Study
    from .yaml_text import read_yaml, read_yaml_file, write_yaml

__all__ = [
    "AlgorithmSpec",
    "EnvironmentSpec",
    "Event",
    "MODES",
    "REMEDY",
    "RunFolder",
    "RunSpec",
    "Saving",
    "Study",
    "WARNINGS",
    "as_integers",
    "as_mapping",
    "at_place",
    "descriptions",
    "files_in",
    "find_file",
    "find_study",
    "is_disk_full",
    "is_int",
    "learn_and_seal",
    "load_study",
    "make_algorithm",
    "newest",
    "packaged_studies",
    "parse_arguments",
    "plain",
    "read_yaml",
    "read_yaml_file",
    "run_folder",
    "run_references",
    "run_study",
    "sole_use",
    "specification",
    "study_to_mapping",
    "take_up",
    "write_yaml",
]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "AlgorithmSpec": "spec",
        "EnvironmentSpec": "spec",
        "Event": "runner",
        "MODES": "run",
        "REMEDY": "full_disk",
        "RunFolder": "folder",
        "RunSpec": "spec",
        "Saving": "run",
        "Study": "spec",
        "WARNINGS": "folder",
        "as_integers": "mappings",
        "as_mapping": "mappings",
        "at_place": "check",
        "descriptions": "packaged",
        "files_in": "packaged",
        "find_file": "packaged",
        "find_study": "packaged",
        "is_disk_full": "full_disk",
        "is_int": "mappings",
        "learn_and_seal": "run",
        "load_study": "file",
        "make_algorithm": "run",
        "newest": "run",
        "packaged_studies": "packaged",
        "parse_arguments": "mappings",
        "plain": "folder",
        "read_yaml": "yaml_text",
        "read_yaml_file": "yaml_text",
        "run_folder": "folder",
        "run_references": "run",
        "run_study": "runner",
        "sole_use": "lock",
        "specification": "single_run",
        "study_to_mapping": "file",
        "take_up": "single_run",
        "write_yaml": "yaml_text",
    },
)
