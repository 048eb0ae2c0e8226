/**
  The licences of the packages of a lock, each once, as `meta.license` has them.

  What may not be passed on, by the table in `rules.json`, is neither free nor redistributable, so that nixpkgs wants it
  allowed by name. What else is no SPDX expression ("SEE LICENSE IN LICENSE.txt") is named as it is, without saying whether it
  is free: that stands in a text that nobody here has read. A package that says nothing has the licence that somebody read
  elsewhere (`rules.json` too), or adds nothing.

  # Type

  ```
  licensesOf :: { lib } -> [ { name ? string, license ? null | string, … } ] -> [ license ]
  ```

  # Example

  ```nix
  licensesOf { inherit lib; } [ { license = "(MIT OR Apache-2.0)"; } ]
  => [ lib.licenses.asl20 lib.licenses.mit ]
  ```
*/
{ lib }:
packages:
let
  known = lib.listToAttrs (
    map (license: lib.nameValuePair license.spdxId license) (
      lib.filter (license: license ? spdxId) (lib.attrValues lib.licenses)
    )
  );
  operators = [
    "AND"
    "OR"
    "WITH"
  ];
  words = text: lib.filter (word: builtins.isString word && word != "") (builtins.split "[ ()]+" text);
  isExpression =
    text: lib.length (words text) == 1 || lib.any (word: lib.elem word operators) (words text);
  idsOf =
    text:
    if isExpression text then lib.filter (word: !lib.elem word operators) (words text) else [ text ];
  one =
    id:
    known.${id} or {
      shortName = id;
      fullName = id;
    };
  inherit ((lib.importJSON ./rules.json).licences) forbidden read;
  stated = package: if (package.license or null) != null then package.license else read.${package.name or ""} or null;
  forbids =
    package: terms:
    lib.elem (package.name or "") terms.names || lib.elem (lib.toUpper (toString (stated package))) terms.stated;
  isForbidden = package: lib.any (forbids package) forbidden;
  texts = lib.filter (text: text != null) (map stated (lib.filter (package: !isForbidden package) packages));
in
map one (lib.unique (lib.sort (a: b: a < b) (lib.concatMap idsOf (lib.unique texts))))
++ map (terms: {
  shortName = terms.title;
  fullName = terms.title;
  free = false;
  redistributable = false;
}) (lib.filter (terms: lib.any (package: forbids package terms) packages) forbidden)
