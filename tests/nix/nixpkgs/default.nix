# nixpkgs' own entry point: { system, overlays } -> the package set. Real builders, real sandbox; the tools are one
# Debian tree in the store (`pins.json`, written beside this file by the tests, has its hash).
{
  system ? builtins.currentSystem,
  overlays ? [ ],
  config ? { },
  ...
}:
let
  lib = import ./lib.nix;
  pins = lib.importJSON ./pins.json;

  # A path that only the tests can put into the store, as nixpkgs' requireFile: the hash names it, nothing makes it.
  required =
    { name, hash, ... }@pin:
    derivation {
      inherit name;
      system = "x86_64-linux";
      builder = "/bin/sh";
      args = [
        "-c"
        "echo '${name} is not in the store; run tests/nix/run' >&2; exit 1"
      ];
      outputHashMode = if pin.flat or false then "flat" else "recursive";
      outputHash = hash;
    };
  debian = required pins.debian;

  packages =
    final:
    let
      inherit (final) mkDerivation;
      # A package that is a view on the Debian tree.
      tools =
        pname: programs:
        mkDerivation {
          inherit pname;
          version = pins.debian.versions.${pname} or "0";
          buildCommand = ''
            mkdir -p $out/bin
            for program in ${toString programs}; do ln -s ${debian}/usr/bin/$program $out/bin/$program; done
          '';
          meta.mainProgram = lib.head programs;
        };
      notHere =
        pname:
        mkDerivation {
          inherit pname;
          version = "0";
          buildCommand = "echo 'the stand-in nixpkgs has no ${pname}' >&2; exit 1";
          meta.mainProgram = pname;
        };
      trivial = import ./trivial.nix { inherit lib mkDerivation debian; };
      python = import ./python.nix { inherit lib mkDerivation debian tools; };
    in
    trivial
    // python
    // {
      inherit lib system config;
      mkDerivation = import ./stdenv { inherit lib system debian; };
      stdenvNoCC = {
        inherit mkDerivation system;
        shell = "${debian}/usr/bin/bash";
        hostPlatform = {
          inherit system;
          isLinux = lib.hasSuffix "-linux" system;
          isDarwin = lib.hasSuffix "-darwin" system;
          isx86_64 = lib.hasPrefix "x86_64-" system;
          isAarch64 = lib.hasPrefix "aarch64-" system;
          isMusl = false;
          isGnu = lib.hasSuffix "-linux" system;
        };
        buildPlatform = final.stdenvNoCC.hostPlatform // {
          canExecute = platform: platform.system == system;
        };
      };
      stdenv = final.stdenvNoCC // {
        cc = {
          bintools.dynamicLinker = "${debian}/usr/lib64/ld-linux-x86-64.so.2";
          libc = debian;
          cc.lib = debian;
        };
      };
      newScope = scope: lib.callPackageWith (final // scope);
      callPackage = final.newScope { };
      # Nothing is built for another system.
      makeScopeWithSplicing' = { otherSplices, f }: lib.makeScope final.newScope f;

      bash = tools "bash" [ "bash" ];
      dash = tools "dash" [ "dash" ];
      jq = tools "jq" [ "jq" ];
      ripgrep = tools "ripgrep" [ "rg" ];
      coreutils = mkDerivation {
        pname = "coreutils";
        version = pins.debian.versions.coreutils;
        buildCommand = "mkdir -p $out; ln -s ${debian}/usr/bin $out/bin";
      };
      patchelf = tools "patchelf" [ "patchelf" ];
      nodejs = (required pins.nodejs) // {
        pname = "nodejs";
        meta.mainProgram = "node";
      };
      # Without npm, as nixpkgs': the program alone.
      nodejs-slim = mkDerivation {
        pname = "nodejs-slim";
        version = "24";
        buildCommand = "install -Dm755 ${final.nodejs}/bin/node $out/bin/node";
        meta.mainProgram = "node";
      };
      opencode = import ./opencode.nix {
        inherit (final) stdenv mkDerivation patchelf ripgrep runtimeShell;
        src = required pins.opencode;
        inherit (pins.opencode) version;
      };
      curl = tools "curl" [ "curl" ];
      tinyproxy = tools "tinyproxy" [ "tinyproxy" ];
      unzip = tools "unzip" [ "unzip" ];
      fetchurl = final.callPackage ./fetchurl.nix { };
      fetchzip = final.callPackage ./fetchzip.nix { };

      dockerTools = import ./docker-tools.nix {
        inherit lib debian;
        inherit (final) bash coreutils mkDerivation runCommand runtimeShell writeText;
      };

      formats.json = _: {
        type = lib.types.json;
        generate = name: value: final.writeText name (builtins.toJSON value);
      };

      nix-prefetch-github = final.writeShellApplication {
        name = "nix-prefetch-github";
        text = "echo 'the stand-in nixpkgs has no nix-prefetch-github' >&2; exit 1";
      };
      # To be in an image, and nothing to work with.
      git = final.writeShellScriptBin "git" "echo 'the stand-in nixpkgs has no git' >&2; exit 1";
      mypy = notHere "mypy";
      nixfmt-tree = notHere "treefmt";
      ruff = notHere "ruff";
      shellcheck = notHere "shellcheck";
      systemd = notHere "systemd";
    };
in
lib.fix (lib.extends (lib.composeManyExtensions overlays) packages)
