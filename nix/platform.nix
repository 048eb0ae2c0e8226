/**
  npm's rule for `os`, `cpu` and `libc` (npm-install-checks, lib/current-env.js), as python's npm/platforms.py has it:
  whether npm on that system would install a package with these fields.

  # Type

  ```
  platformFits :: { lib } -> { os, cpu, libc } -> package -> bool
  ```

  # Example

  ```nix
  platformFits { inherit lib; } { os = "linux"; cpu = "x64"; libc = "glibc"; } { os = [ "!win32" ]; }
  => true
  ```
*/
{ lib }:
words: package:
let
  admits =
    field:
    let
      listed = package.${field} or [ ];
      wanted = lib.filter (word: !lib.hasPrefix "!" word) listed;
    in
    listed == [ ]
    || listed == [ "any" ]
    || (!lib.elem "!${words.${field}}" listed && (wanted == [ ] || lib.elem words.${field} wanted));
in
# A libc is a matter of Linux alone.
(package.libc or [ ] == [ ] || words.os == "linux") && lib.all admits (lib.attrNames words)
