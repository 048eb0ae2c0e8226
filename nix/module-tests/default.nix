# A check: every pair of the modules' tests holds. What does not is printed, with what was found.
{ lib, pkgs }:
let
  inherit (import ./pairs.nix { inherit lib pkgs; }) options pairs;
  failed = lib.filterAttrs (_: pair: pair.expr != pair.expected) pairs;
  report = lib.concatStringsSep "\n" (
    lib.mapAttrsToList (
      name: pair: "${name}\n  expected ${builtins.toJSON pair.expected}\n  found    ${builtins.toJSON pair.expr}"
    ) failed
  );
in
lib.throwIf (failed != { }) "tests of the modules' options failed:\n${report}" (
  pkgs.runCommand "opencode-cache-module-tests" { passthru = { inherit options; }; } ''
    echo ${toString (builtins.length (lib.attrNames pairs))} pairs hold | tee $out
  ''
)
