# `nix develop`: all that CONTRIBUTING.md's commands need.
{
  mkShellNoCC,
  mypy,
  nodejs,
  python3,
  ripgrep,
  ruff,
  shellcheck,
}:
mkShellNoCC {
  packages = [
    (python3.withPackages (
      packages:
      import ./python-dependencies.nix packages
      ++ [
        packages.hypothesis
        packages.pyte
        packages.pytest
      ]
    ))
    mypy
    nodejs
    ripgrep
    ruff
    shellcheck
  ];
}
