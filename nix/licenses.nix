/**
  The licences of the packages of a lock, each once, as `meta.license` has them.

  What is no SPDX expression ("SEE LICENSE IN LICENSE.txt") is named as it is, without saying whether it is free: that
  stands in a text that nobody here has read. A package that says nothing adds nothing.

  # Type

  ```
  licensesOf :: { lib } -> [ { license ? null | string, … } ] -> [ license ]
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
  texts = lib.filter (text: text != null) (map (package: package.license or null) packages);
in
map one (lib.unique (lib.sort (a: b: a < b) (lib.concatMap idsOf (lib.unique texts))))
