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
  "licences: what may not be passed on is neither free nor redistributable" = {
    expr = map (license: [
      license.shortName
      (license.free or true)
      (license.redistributable or true)
    ]) (licensesOf [
      {
        name = "@sap/xssec";
        license = "SEE LICENSE IN LICENSE";
      }
      {
        name = "other";
        license = "Unlicensed";
      }
    ]);
    expected = [
      [
        "SAP Developer License"
        false
        false
      ]
      [
        "UNLICENSED"
        false
        false
      ]
    ];
  };
  "licences: of a package that states none, the one that was read elsewhere" = {
    expr = named (licensesOf [ { name = "@openauthjs/openauth"; } ]);
    expected = [ "MIT" ];
  };
}
