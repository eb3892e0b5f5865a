"""Every target there is."""

from typing import Any

from tests.fuzz import command_line, documents, hostile, netbox_answers, node_output, runs, tool_output
from tests.fuzz.target import Target

TARGETS: tuple[Target[Any], ...] = (
    *tool_output.TARGETS,
    *node_output.TARGETS,
    *documents.TARGETS,
    *netbox_answers.TARGETS,
    *runs.TARGETS,
    *command_line.TARGETS,
    *hostile.TARGETS,
)
