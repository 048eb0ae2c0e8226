/** The Python tool `opencode-cache`: the builder of the cache, and of the wrapper. */
{ lib, python3Packages }:
python3Packages.buildPythonApplication {
  pname = "opencode-cache-builder";
  inherit ((lib.importTOML ../pyproject.toml).project) version;
  pyproject = true;

  # Edits of the documentation and the tests rebuild nothing. The locks become part of the wheel.
  src = lib.fileset.toSource {
    root = ../.;
    fileset = lib.fileset.unions [
      ../LICENSE
      ../pyproject.toml
      ../python/src
      ./locks
    ];
  };

  build-system = [ python3Packages.hatchling ];
  dependencies = import ./python-dependencies.nix python3Packages;

  # The tests are checks of the flake.
  doCheck = false;

  meta = {
    description = "Builds, proves and wraps a pinned offline cache for the OpenCode terminal agent";
    license = lib.licenses.mit;
    mainProgram = "opencode-cache";
  };
}
