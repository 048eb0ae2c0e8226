# The rules that nix/rules.json has, made by Nix of its examples.
{ lib, ... }:
let
  rules = lib.importJSON ../rules.json;
  inherit (rules) examples systems;
  fits = import ../platform.nix { inherit lib; };
  accepts = import ../lock-accepts.nix { inherit lib; };
  layoutFor = import ../layout-for.nix { inherit lib; };
  spellings = import ../spellings.nix { inherit lib; };
  lockFor = import ../lock-for.nix { inherit lib; };
  sorted = lib.sort (a: b: a < b);
in
{
  "rules: the platforms that npm installs a package on" = {
    expr = map (
      example: sorted (lib.filter (name: fits systems.${name} example.package) (lib.attrNames systems))
    ) examples.fits;
    expected = map (example: sorted example.systems) examples.fits;
  };
  "rules: the layout of a version" = {
    expr = lib.mapAttrs (version: _: layoutFor version) examples.layouts;
    expected = examples.layouts;
  };
  "rules: which lock is right for which version" = {
    expr = map (example: accepts example.locked example.found) examples.accepts;
    expected = map (example: example.accepts) examples.accepts;
  };
  "rules: the ways of writing a plugin" = {
    expr = map (example: {
      same = lib.all (text: lib.elem text (spellings example.request)) example.same;
      other = lib.any (text: lib.elem text (spellings example.request)) example.other;
    }) examples.spellings;
    expected = map (_: {
      same = true;
      other = false;
    }) examples.spellings;
  };
  "rules: every system of a release is one of Python's" = {
    expr = lib.filter (name: !systems ? ${name}) (lib.attrNames (lib.importJSON ../releases.json));
    expected = [ ];
  };
  "lockFor: exact, near, lockable, not supported" = {
    expr = map (version: {
      has = (lockFor version).path != null;
      says = lib.head (lib.splitString ";" (toString (lockFor version).problem));
    }) [
      "1.18.33"
      "1.18.99"
      "1.17.4"
      "3.0.1"
    ];
    expected = [
      {
        has = true;
        says = "";
      }
      {
        has = true;
        says = "";
      }
      {
        has = false;
        says = "there is no lock for OpenCode 1.17.4 in this opencode-cache, only for 1.0.61, 1.18.21, 1.18.33";
      }
      {
        has = false;
        says = "OpenCode 3.0.1 is not supported by this opencode-cache";
      }
    ];
  };
}
