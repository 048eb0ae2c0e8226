# lockFor : version of OpenCode -> path of the shipped lock that a cache for it is built from.
#
# The lock of that very version; else the newest of the same series where the layout is `packages`, which asks
# for the same things in all of a series. The builder asks the binary itself and judges again.
{ lib }:
version:
let
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

  exact = lib.filter (lock: lock.version == version) locks;
  series = lib.versions.majorMinor;
  whole = lib.filter (lock: lock.layout == "packages") locks;
  near = lib.sort (a: b: lib.versionOlder b.version a.version) (
    lib.filter (lock: series lock.version == series version) whole
  );
  found = exact ++ near;
in
lib.throwIf (found == [ ])
  "opencode-cache: there is no lock for OpenCode ${version}, only for ${
    lib.concatStringsSep ", " (map (lock: lock.version) locks)
  } and others of the series ${
    lib.concatStringsSep ", " (lib.unique (map (lock: series lock.version) whole))
  }; make one with `opencode-cache lock --opencode-version ${version} -o FILE` and give it as `lock`"
  (lib.head found).path
