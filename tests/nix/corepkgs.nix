# The flake's packages, made with the genuine stdenv, fetchers and lib of nixpkgs' core as a public fork has it:
# name -> path of the derivation. What the fork does not package is a derivation without content.
{ corepkgs, project }:
let
  core = import corepkgs {
    system = "x86_64-linux";
    overlays = [
      (final: prev: {
        opencode = final.stdenvNoCC.mkDerivation {
          pname = "opencode";
          version = "1.18.33";
          buildCommand = "exit 1";
          meta.mainProgram = "opencode";
          passthru.jsonschema = "schema.json";
        };
        nodejs-slim = prev.nodejs-slim or prev.nodejs;
        python3Packages = prev.python3Packages.overrideScope (
          _: python:
          final.lib.genAttrs names (name: python.${name} or (final.runCommand name { } "exit 1"))
        );
      })
    ];
  };
  inherit (core) lib;
  names = [
    "packaging"
    "pydantic"
    "requests"
    "rich"
    "semver"
    "typer"
    "zstandard"
  ];
  inputs.nixpkgs = { inherit lib; };
  mkOpencode = import (project + "/nix/mk-opencode.nix") { inherit inputs; };
  inherit (import (project + "/nix/packages.nix") { pkgs = core; inherit inputs; }) images public;
  packages = public;
  modules = import (project + "/nix/module-tests/pairs.nix") {
    inherit lib;
    pkgs = core // {
      formats.json = _: { type = lib.types.anything // { check = value: !builtins.isFunction value.model or null; }; };
    };
  };
  # For a system that is not this one.
  cross =
    (import (project + "/nix/packages.nix") {
      pkgs = core.pkgsCross.aarch64-multiplatform;
      inherit inputs;
    }).public;
  # Beside OpenCode itself, and with what those need (`test_flake.py` holds the names against a real closure).
  closure = [
    packages.opencode-with-cache
    packages.opencode-cache
    core.dash
    core.ripgrep
    core.coreutils
    core.acl
    core.attr
    core.gmp
    core.stdenv.cc.cc.lib
    core.stdenv.cc.libc
  ];
  mine = mkOpencode { pkgs = core; extraPackages = [ core.dash ]; };
  composed =
    (import corepkgs {
      system = "x86_64-linux";
      overlays = [
        (final: _: { inherit (core) opencode nodejs-slim python3Packages; })
        (final: prev: (import (project + "/nix/packages.nix") {
          pkgs = final;
          inherit inputs;
          inherit (prev) opencode;
        }).public)
        (final: _: { opencode = final.opencode-with-cache; })
      ];
    }).opencode;
in
{
  derivations = lib.mapAttrs (_: package: package.drvPath) (
    packages
    // images
    // {
      inherit mine composed;
      renamed = mine.overrideAttrs (old: { pname = "${old.pname}-mine"; });
      online = (mine.overrideAttrs { pname = "mine"; }).override { offline = false; };
      npm = (lib.head (packages.opencode-cache.override { withNpm = true; }).tarballs).path;
    }
  );
  # Of a cache for another system: whose builder its build starts.
  cross = {
    builders = map (tool: tool.stdenv.hostPlatform.system) (
      lib.filter (tool: tool.pname or "" == "opencode-cache-builder") cross.opencode-cache.nativeBuildInputs
    );
    inherit (cross.opencode-cache.stdenv.hostPlatform) system;
  };
  names = {
    renamed = (mine.overrideAttrs (old: { pname = "${old.pname}-mine"; })).name;
    again = (mine.overrideAttrs { pname = "mine"; }).override { offline = false; } ? cache;
  };
  # Of one tarball: what curl is told.
  tarball =
    let
      inherit ((lib.head packages.opencode-cache.tarballs).path) urls outputHash impureEnvVars mirrorsFile;
    in
    {
      inherit urls outputHash;
      honours = lib.elem "NPM_CONFIG_REGISTRY" impureEnvVars;
      ours = mirrorsFile.name;
    };
  inherit (packages.opencode-with-cache) jsonschema;
  meta = {
    inherit (packages.opencode-with-cache.meta) changelog mainProgram;
    available = packages.opencode-with-cache.meta.available or true;
  };
  # Of what the closure of the default package is made of, the licences that do not let it be passed on.
  not-to-be-passed-on = lib.concatMap (
    package:
    map (license: "${package.name}: ${license.fullName or license.spdxId}") (
      lib.filter (license: !(license.redistributable or license.free or false)) (lib.toList package.meta.license)
    )
  ) closure;
  closure = map (package: package.name) closure;
  failed = lib.attrNames (lib.filterAttrs (_: pair: pair.expr != pair.expected) modules.pairs);
  pairs = lib.length (lib.attrNames modules.pairs);
}
