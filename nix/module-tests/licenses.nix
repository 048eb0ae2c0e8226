# The licences of a lock.
{ lib, ... }:
let
  licensesOf = import ../licenses.nix { inherit lib; };
  named = map (license: license.spdxId or license.fullName);
in
{
  "licences: each once, of expressions too" = {
    expr = named (licensesOf [
      { license = "(MIT OR Apache-2.0)"; }
      { license = "MIT"; }
      { license = null; }
      { }
      { license = "BlueOak-1.0.0 AND MIT"; }
    ]);
    expected = [
      "Apache-2.0"
      "BlueOak-1.0.0"
      "MIT"
    ];
  };
  "licences: what is no expression is named as it is, and not called free" = {
    expr =
      let
        found = licensesOf [
          { license = "SEE LICENSE IN LICENSE.txt"; }
          { license = "MIT"; }
        ];
      in
      {
        names = named found;
        says = (lib.last found) ? free;
      };
    expected = {
      names = [
        "MIT"
        "SEE LICENSE IN LICENSE.txt"
      ];
      says = false;
    };
  };
}
