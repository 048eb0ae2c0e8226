# What pyproject.toml names as dependencies, from a set of Python packages (3.11 or newer needs no tomli).
packages: [
  packages.packaging
  packages.pydantic
  packages.requests
  packages.rich
  packages.semver
  packages.typer
  packages.zstandard
]
