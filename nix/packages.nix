/**
  The flake's packages, made with the tools of a package set.

  # Type

  ```
  packages :: { pkgs, inputs, opencode ? pkgs.opencode } -> { public, images :: { NAME = derivation; … }, scope }
  ```

  A system that OpenCode has no release for is refused at evaluation, with a sentence.
*/
{
  pkgs,
  inputs,
  # Of an overlay: what was there before it, lest `opencode = final.opencode-with-cache` lead to itself.
  opencode ? pkgs.opencode,
}:
let
  # Not that of `pkgs`: which names an overlay adds must be known without asking the package set that it is part of.
  inherit (inputs.nixpkgs) lib;
  inherit (pkgs.stdenv.hostPlatform) system;
  releases = lib.importJSON ./releases.json;
  release =
    releases.${system} or (throw "opencode-cache: ${system} is not supported; the supported systems are ${
      lib.concatStringsSep ", " (lib.attrNames releases)
    }");

  # Where pkgs is for another system than the machine that builds, what a build starts is that machine's: the builder.
  ofStage = stage: (import ./packages.nix { pkgs = pkgs.${stage}; inherit inputs; }).scope;
  scope = pkgs.makeScopeWithSplicing' {
    otherSplices = {
      selfBuildBuild = ofStage "pkgsBuildBuild";
      selfBuildHost = ofStage "pkgsBuildHost";
      selfBuildTarget = ofStage "pkgsBuildTarget";
      selfHostHost = ofStage "pkgsHostHost";
      selfTargetTarget = { };
    };
    f = packages;
  };
  packages = self: {
    inherit opencode;
    npmRegistry = self.callPackage ./npm-registry.nix { };
    npmTarball = self.callPackage ./npm-tarball.nix { };
    opencode-cache-builder = self.callPackage ./opencode-cache-builder.nix { };
    opencodeLoader = self.callPackage ./opencode-loader.nix { };
    opencode-release = self.callPackage ./opencode-release.nix {
      inherit (release) version;
      src = self.callPackage ./release-archive.nix { } release.input;
    };
    opencode-cache = self.callPackage ./opencode-cache.nix { };
    opencode-with-cache = self.callPackage ./opencode-with-cache.nix { };
    image = self.callPackage ./image.nix { };
    opencode-release-with-cache = self.opencode-with-cache.override {
      opencode = self.opencode-release;
      opencode-cache = self.opencode-cache.override { opencode = self.opencode-release; };
    };
  };
in
{
  inherit scope;
  # Of a Linux that has what makes images; not in the overlay, since `image` says nothing there.
  images = lib.optionalAttrs (pkgs.stdenv.hostPlatform.isLinux && pkgs ? dockerTools) {
    inherit (scope) image;
  };
  public = lib.genAttrs [
    "opencode-cache"
    "opencode-cache-builder"
    "opencode-release"
    "opencode-release-with-cache"
    "opencode-with-cache"
  ] (name: builtins.seq release scope.${name});
}
