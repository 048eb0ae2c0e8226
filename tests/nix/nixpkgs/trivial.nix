# nixpkgs' trivial builders.
{ lib, mkDerivation, debian }:
let
  shell = "${debian}/usr/bin/bash";
in
rec {
  runtimeShell = shell;
  runCommand =
    name: attributes: buildCommand:
    mkDerivation (attributes // { inherit name buildCommand; });
  runCommandLocal = runCommand;

  writeTextFile =
    { name, text, executable ? false, destination ? "", meta ? { } }:
    mkDerivation {
      inherit name text meta;
      passAsFile = [ "text" ];
      buildCommand = ''
        mkdir -p "$(dirname "$out${destination}")"
        install -m ${if executable then "755" else "644"} "$textPath" "$out${destination}"
      '';
    };
  writeText = name: text: writeTextFile { inherit name text; };
  writeShellScriptBin =
    name: text:
    writeTextFile {
      inherit name;
      text = "#!${shell}\n${text}";
      executable = true;
      destination = "/bin/${name}";
      meta.mainProgram = name;
    };
  writeShellApplication =
    { name, text, runtimeInputs ? [ ], meta ? { } }:
    writeTextFile {
      inherit name;
      meta = { mainProgram = name; } // meta;
      text = ''
        #!${shell}
        set -euo pipefail
        export PATH="${lib.makeBinPath runtimeInputs}:$PATH"
        ${text}
      '';
      executable = true;
      destination = "/bin/${name}";
    };
  linkFarm =
    name: entries:
    runCommand name {
      names = map (entry: entry.name) entries;
      paths = map (entry: entry.path) entries;
    } ''
      mkdir $out
      set -- $paths
      for name in $names; do
        mkdir -p "$(dirname "$out/$name")"
        ln -s "$1" "$out/$name"
        shift
      done
    '';
  mkShellNoCC =
    { packages ? [ ], ... }@attributes:
    mkDerivation (
      removeAttrs attributes [ "packages" ]
      // {
        name = attributes.name or "nix-shell";
        nativeBuildInputs = packages;
        buildCommand = "export >$out";
      }
    );
}
