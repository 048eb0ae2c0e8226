/**
  What is wrong with a lock file, as the rest of a sentence that begins with the option or argument; null if nothing is.

  # Type

  ```
  lockProblem :: { lib } -> { lock, version ? null, command, hasModels ? false } -> null | string
  ```

  `version` is that of the OpenCode that the cache is for; null where it is not known. `command` writes a lock.

  # Example

  ```nix
  lockProblem { inherit lib; } { lock = ./missing.json; command = "nix run …#lock"; }
  => "/…/missing.json is not there; run `nix run …#lock`, then `git add missing.json`"
  ```
*/
{ lib }:
{
  lock,
  version ? null,
  command,
}:
let
  name = baseNameOf (toString lock);
  path = toString lock;
  content = builtins.readFile lock;
  locked = builtins.addErrorContext "while reading the lock file ${path}" (lib.importJSON lock);
  layout = (import ./layout-for.nix { inherit lib; }) version;
  accepts = import ./lock-accepts.nix { inherit lib; };
in
if builtins.isAttrs lock || builtins.isList lock then
  "is the content of a lock, or a derivation; give the path of a file that is there at evaluation: ./opencode-cache.lock.json"
else if !(builtins.isPath lock || (builtins.isString lock && lib.hasPrefix "/" lock)) then
  "${
    builtins.toJSON (if builtins.isFunction lock then "a function" else lock)
  } is no path; write ./opencode-cache.lock.json, without quotes"
else if !builtins.pathExists lock then
  "${path} is not there; run `${command}` beside it, then `git add ${name}`, since a flake sees only what git knows"
# Only then, since Nix cannot go on after a file that is no JSON.
else if builtins.substring 0 1 content != "{" || !(locked ? requests && locked ? opencode && locked ? packages) then
  "${path} is no lock of opencode-cache; `${command}` writes one"
else if locked.lock_version or 1 != 1 then
  "${path} was written by another opencode-cache, with lock_version ${toString locked.lock_version} and not 1; run `${command}`, or `nix flake update opencode-cache`"
else if version != null && layout == null then
  "${path} is for OpenCode ${locked.opencode.version}, and OpenCode ${version} is not supported; give that OpenCode as `opencode`"
else if version != null && locked.opencode.layout != layout then
  "${path} is for OpenCode ${locked.opencode.version}, whose cache has another layout (${locked.opencode.layout}) than that of OpenCode ${version} (${layout}); run `${command}`"
else if version != null && !accepts locked.opencode.version version then
  "${path} is for OpenCode ${locked.opencode.version}, and the cache of OpenCode ${version} has other things in it; run `${command}`"
else
  null
