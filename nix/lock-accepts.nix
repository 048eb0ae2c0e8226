/**
  Whether a cache that was locked for one version of OpenCode is right for another, as python's layouts have it.

  # Type

  ```
  lockAccepts :: { lib } -> string -> string -> bool
  ```

  # Example

  ```nix
  lockAccepts { inherit lib; } "1.18.21" "1.18.33"
  => true
  ```
*/
{ lib }:
locked: found:
let
  layoutFor = import ./layout-for.nix { inherit lib; };
  series = lib.versions.majorMinor;
in
# `bun` asks for the built-in plugins by exact version, and they change with patch releases.
locked == found
|| (layoutFor locked != "bun" && layoutFor found == layoutFor locked && series locked == series found)
