/**
  The unpacked release archive that flake.lock pins for a `tui-*` input.

  A flake's input is downloaded when it is evaluated, and 60 MB are too much for `nix flake show`. So of those inputs
  flake.lock alone is read, and a derivation downloads, when it is built. Its path is the one that the input would
  have, since name and hash are the same.

  # Type

  ```
  releaseArchive :: string -> derivation
  ```
*/
{ lib, fetchzip }:
input:
let
  inherit ((lib.importJSON ../flake.lock).nodes.${input}) locked;
in
fetchzip {
  inherit (locked) url;
  hash = locked.narHash;
  stripRoot = false;
}
