/**
  What `nix flake check` builds: the packages and their tests, and the project's own tests that need no network.

  # Type

  ```
  checks :: { pkgs, ours } -> { NAME = derivation; … }
  ```
*/
{ pkgs, ours }:
let
  inherit (pkgs) lib;
  inherit (ours.public) opencode-cache opencode-with-cache opencode-release;

  source = lib.fileset.toSource {
    root = ../.;
    fileset = lib.fileset.unions [
      ../pyproject.toml
      ../python/src
      ../tests/unit
      ../tests/wrapper
      ./locks
      ./rules.json
    ];
  };
  python = pkgs.python3.withPackages (
    packages:
    import ./python-dependencies.nix packages
    ++ [
      packages.hypothesis
      packages.pyte
      packages.pytest
    ]
  );
  pytest =
    name: arguments:
    pkgs.runCommand "opencode-cache-${name}-tests"
      {
        nativeBuildInputs = [
          python
          pkgs.dash
          pkgs.nodejs
          pkgs.ripgrep
        ];
        __darwinAllowLocalNetworking = true;
      }
      ''
        cp -r ${source} source
        chmod -R u+w source
        cd source
        export HOME=$NIX_BUILD_TOP PYTHONPATH=$PWD/python/src
        python3 -m pytest -c pyproject.toml --rootdir . -p no:cacheprovider -q ${arguments} | tee $out
      '';
in
{
  inherit opencode-release;
  default = opencode-with-cache;
  unit = pytest "unit" "tests/unit";
  # The other tests of the wrapper want the tools of an ordinary machine in /bin and /usr/bin.
  wrapper-golden = pytest "wrapper-golden" "tests/wrapper/test_wrapper.py -k golden";
  offline = opencode-cache.tests.offline;
  reproducible = opencode-cache.tests.reproducible;
  modules = import ./module-tests { inherit lib pkgs; };
  flake-locks-are-equal = pkgs.runCommand "flake-locks-are-equal" { } ''
    diff ${../flake.lock} ${../opencode/flake.lock}
    diff <(sed 's|\./nix/|../nix/|' ${../flake.nix}) <(grep -v '^# The same flake' ${../opencode/flake.nix})
    touch $out
  '';
}
