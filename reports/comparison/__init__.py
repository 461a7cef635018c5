"""Several studies on one page: what may be compared with what, searches in one box, winners seed by seed."""

from reports.comparison.groups import Group, group_studies
from reports.comparison.page import write_comparison

__all__ = ["Group", "group_studies", "write_comparison"]
