"""The papers' own analyses of a trained network: from a network and images to numbers, and their page."""

from reports.analysis.analyse import Analysis, analyse
from reports.analysis.pictures import Pictures, choose_pictures
from reports.analysis.subject import Subject

__all__ = ["Analysis", "Pictures", "Subject", "analyse", "choose_pictures"]
