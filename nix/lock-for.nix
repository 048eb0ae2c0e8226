/**
  Which of the shipped locks a cache for a version of OpenCode is built from.

  The lock of that very version; else the newest of the same series where the layout is `packages`, which asks for the
  same things in all of a series. The builder asks the binary itself and judges again.

  # Type

  ```
  lockFor :: { lib } -> string -> { path :: null | path; problem :: null | string }
  ```

  `problem` is the sentence about a version that has no lock, and tells one that can be locked from one that cannot.

  # Example

  ```nix
  lockFor { inherit lib; } "1.18.33"
  => { path = ./locks/opencode-cache.lock.json; problem = null; }
  ```
*/
{ lib }:
version:
let
  rules = lib.importJSON ./rules.json;
  repository = import ./repository.nix;
  directory = ./locks;
  locks = map (
    name:
    let
      path = directory + "/${name}";
    in
    {
      inherit path;
      inherit ((lib.importJSON path).opencode) version layout;
    }
  ) (lib.filter (lib.hasSuffix ".lock.json") (lib.attrNames (builtins.readDir directory)));
  accepts = import ./lock-accepts.nix { inherit lib; };

  exact = lib.filter (lock: lock.version == version) locks;
  near = lib.sort (a: b: lib.versionOlder b.version a.version) (
    lib.filter (lock: accepts lock.version version) locks
  );
  chosen = exact ++ near;
  layout = import ./layout-for.nix { inherit lib; } version;
  # An experiment, as opencode/versions.py has it.
  consent = lib.optionalString (layout == "generations") "OPENCODE_CACHE_EXPERIMENTAL=1 ";

  release = (lib.importJSON ./releases.json).x86_64-linux.version;
  instead = "or take ${repository}'s opencode-release-with-cache, which is OpenCode ${release} with its cache";
in
{
  path = if chosen == [ ] then null else (lib.head chosen).path;
  problem =
    if chosen != [ ] then
      null
    else if layout == null then
      "OpenCode ${version} is not supported by this opencode-cache; the supported versions are ${rules.supported}: run `nix flake update opencode-cache`, since a newer one may support it, ${instead}"
    else if (import ./layout-for.nix { inherit lib; }) version == rules.experimental.layout then
      "OpenCode ${version} is an experiment here: ${rules.experimental.known}. Run `nix run ${repository}#lock -- --experimental --opencode-version ${version} -o opencode-cache.lock.json` and give the file as `lock`, ${instead}"
    else
      "there is no lock for OpenCode ${version} in this opencode-cache, only for ${
        lib.concatStringsSep ", " (map (lock: lock.version) locks)
      }; it can be locked: run `${consent}nix run ${repository}#lock -- --opencode-version ${version} -o opencode-cache.lock.json` and give the file as `lock`, ${instead}";
}
