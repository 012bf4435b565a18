"""Plays that more than one test of a bare stand-in begins and ends with; tasks of one's own follow the first."""

PREPARE = """
- play: Prepare
  hosts: all
  tasks:
    - name: Python
      python: {}
    - name: Packages
      environment: {}
"""
TIDY_UP = """
- play: Tidy up
  hosts: all
  tasks:
    - name: Old environments
      old_environments: {}
"""
