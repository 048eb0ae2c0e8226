/**
  The layout of the cache of a version of OpenCode, as python's opencode/versions.py has it; null where it is not supported.

  # Type

  ```
  layoutFor :: { lib } -> string -> null | string
  ```

  # Example

  ```nix
  layoutFor { inherit lib; } "1.18.33"
  => "packages"
  ```
*/
{ lib }:
version:
let
  inherit (lib.importJSON ./rules.json) layouts;
  series = lib.versions.majorMinor version;
  matching = lib.filter (
    layout: lib.versionAtLeast series layout.first && lib.versionAtLeast layout.last series
  ) layouts;
in
if builtins.match "[0-9]+\\.[0-9]+\\.[0-9]+.*" version == null || matching == [ ] then
  null
else
  (lib.head matching).name
