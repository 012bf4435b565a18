"""What the user sees of a run: consumers of events; nobody else in the project prints."""

from provisioner.report.reports import Report, Reports, open_reports

__all__ = ["Report", "Reports", "open_reports"]
