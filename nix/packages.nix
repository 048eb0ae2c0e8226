# { pkgs, inputs } -> { public }: the flake's packages, made with the tools of that pkgs.
#
# Refuses, as a sentence at evaluation, a system that OpenCode has no release for.
{ pkgs, inputs }:
let
  # Not that of `pkgs`: which names an overlay adds must be known without asking the package set that it is part of.
  inherit (inputs.nixpkgs) lib;
  inherit (pkgs.stdenv.hostPlatform) system;
  releases = lib.importJSON ./releases.json;
  release =
    releases.${system} or (throw "opencode-cache: ${system} is not supported; the supported systems are ${
      lib.concatStringsSep ", " (lib.attrNames releases)
    }");

  callPackage = lib.callPackageWith (pkgs // ours);
  ours = {
    lockFor = import ./lock-for.nix { inherit lib; };
    npmRegistry = callPackage ./npm-registry.nix { };
    npmTarball = callPackage ./npm-tarball.nix { };
    opencode-cache-builder = callPackage ./opencode-cache-builder.nix { };
    opencodeLoader = callPackage ./opencode-loader.nix { };
    opencode-release = callPackage ./opencode-release.nix {
      inherit (release) version;
      src = callPackage ./release-archive.nix { } release.input;
    };
    opencode-cache = callPackage ./opencode-cache.nix { };
    opencode-with-cache = callPackage ./opencode-with-cache.nix { };
    opencode-release-with-cache = ours.opencode-with-cache.override {
      opencode = ours.opencode-release;
      opencode-cache = ours.opencode-cache.override { opencode = ours.opencode-release; };
    };
  };
in
{
  public = lib.getAttrs [
    "opencode-cache"
    "opencode-cache-builder"
    "opencode-release"
    "opencode-release-with-cache"
    "opencode-with-cache"
  ] ours;
}
