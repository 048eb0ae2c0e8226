# The part of nixpkgs' lib that the flake uses: same names, same meanings.
let
  inherit (builtins)
    attrNames
    attrValues
    concatLists
    concatMap
    concatStringsSep
    elem
    filter
    foldl'
    functionArgs
    genList
    head
    intersectAttrs
    isAttrs
    isFunction
    isList
    isString
    length
    listToAttrs
    mapAttrs
    match
    readFile
    replaceStrings
    splitVersion
    stringLength
    substring
    ;

  lists = {
    inherit concatLists concatMap elem filter foldl' genList head length;
    inherit (builtins) all any elemAt map sort tail;
    last = list: builtins.elemAt list (length list - 1);
    toList = value: if isList value then value else [ value ];
    optional = condition: value: if condition then [ value ] else [ ];
    optionals = condition: values: if condition then values else [ ];
    unique = foldl' (known: value: if elem value known then known else known ++ [ value ]) [ ];
  };

  attrsets = {
    inherit attrNames attrValues isAttrs listToAttrs mapAttrs;
    inherit (builtins) getAttr hasAttr;
    nameValuePair = name: value: { inherit name value; };
    genAttrs = names: f: listToAttrs (map (name: { inherit name; value = f name; }) names);
    mapAttrs' = f: set: listToAttrs (map (name: f name set.${name}) (attrNames set));
    mapAttrsToList = f: set: map (name: f name set.${name}) (attrNames set);
    filterAttrs =
      keep: set: removeAttrs set (filter (name: !keep name set.${name}) (attrNames set));
    getAttrs = names: set: attrsets.genAttrs names (name: set.${name});
    optionalAttrs = condition: set: if condition then set else { };
    isDerivation = value: value.type or null == "derivation";
    recursiveUpdate =
      left: right:
      left
      // mapAttrs (
        name: value:
        if isAttrs value && isAttrs (left.${name} or null) then
          attrsets.recursiveUpdate left.${name} value
        else
          value
      ) right;
  };

  strings = rec {
    inherit concatStringsSep isString stringLength substring replaceStrings splitVersion;
    concatStrings = concatStringsSep "";
    concatMapStrings = f: list: concatStrings (map f list);
    concatMapStringsSep = separator: f: list: concatStringsSep separator (map f list);
    optionalString = condition: text: if condition then text else "";
    splitString = separator: text: filter isString (builtins.split (escapeRegex separator) text);
    escapeRegex = replaceStrings
      [ "\\" "." "+" "*" "?" "(" ")" "[" "]" "{" "}" "^" "$" "|" ]
      [ "\\\\" "\\." "\\+" "\\*" "\\?" "\\(" "\\)" "\\[" "\\]" "\\{" "\\}" "\\^" "\\$" "\\|" ];
    toUpper =
      let
        letters = text: genList (number: substring number 1 text) (stringLength text);
      in
      replaceStrings (letters "abcdefghijklmnopqrstuvwxyz") (letters "ABCDEFGHIJKLMNOPQRSTUVWXYZ");
    hasInfix = part: text: length (splitString part text) > 1;
    hasPrefix = prefix: text: substring 0 (stringLength prefix) text == prefix;
    hasSuffix =
      suffix: text:
      let
        rest = stringLength text - stringLength suffix;
      in
      rest >= 0 && substring rest (-1) text == suffix;
    removePrefix =
      prefix: text: if hasPrefix prefix text then substring (stringLength prefix) (-1) text else text;
    removeSuffix =
      suffix: text:
      if hasSuffix suffix text then substring 0 (stringLength text - stringLength suffix) text else text;
    escapeShellArg =
      value:
      let
        text = toString value;
      in
      if match "[[:alnum:],._+:@%/-]+" text == null then
        "'${replaceStrings [ "'" ] [ "'\\''" ] text}'"
      else
        text;
    escapeShellArgs = concatMapStringsSep " " escapeShellArg;
    versionAtLeast = a: b: builtins.compareVersions a b >= 0;
    versionOlder = a: b: builtins.compareVersions a b < 0;
    # What a store name may not hold becomes "-"; a leading dot goes.
    sanitizeDerivationName =
      text:
      let
        parts = builtins.split "[^[:alnum:]+._?=-]+" text;
        name = concatMapStrings (part: if isString part then part else "-") parts;
        start = match "\\.*(.*)" name;
      in
      if name == "" then "unknown" else head start;
    getExe = package: getExe' package (package.meta.mainProgram or package.pname);
    getExe' = package: name: "${package}/bin/${name}";
    makeBinPath = concatMapStringsSep ":" (package: "${package}/bin");
  };

  customisation = rec {
    makeOverridable =
      f: arguments:
      let
        result = f arguments;
        extra = {
          override =
            more:
            makeOverridable f (arguments // (if isFunction more then more arguments else more));
        }
        // attrsets.optionalAttrs (result ? overrideAttrs) {
          # `override` after `overrideAttrs` keeps both, as nixpkgs' does.
          overrideAttrs =
            change: makeOverridable (more: (f more).overrideAttrs change) arguments;
        };
      in
      if isAttrs result then result // extra else result;
    callPackageWith =
      auto: function: arguments:
      let
        f = if isFunction function then function else import function;
      in
      makeOverridable f (intersectAttrs (functionArgs f) auto // arguments);
    makeScope =
      newScope: f:
      let
        self = f self // {
          newScope = scope: newScope (self // scope);
          callPackage = self.newScope { };
          overrideScope = overlay: makeScope newScope (fixedPoints.extends overlay f);
          packages = f;
        };
      in
      self;
    # The outputs' own `extend`: `extra` on the derivation and on each of its outputs.
    withAttributes =
      derivation: extra:
      derivation
      // extra
      // listToAttrs (
        map (name: {
          inherit name;
          value = derivation.${name} // extra // { outputName = name; };
        }) (derivation.outputs or [ "out" ])
      );
  };

  fixedPoints = {
    fix =
      f:
      let
        self = f self;
      in
      self;
    extends =
      overlay: f: final:
      let
        previous = f final;
      in
      previous // overlay final previous;
    composeManyExtensions =
      overlays: final: previous:
      foldl' (known: overlay: known // overlay final (previous // known)) { } overlays;
  };

  # Only what `toSource` needs: a file set is a list of paths below the root.
  fileset = {
    unions = sets: concatMap (set: if isList set then set else [ set ]) sets;
    toSource =
      { root, fileset }:
      let
        wanted = map toString (if isList fileset then fileset else [ fileset ]);
        keeps =
          path: _:
          lists.any (
            want:
            path == want || strings.hasPrefix "${want}/" path || strings.hasPrefix "${path}/" want
          ) wanted;
        source = builtins.path {
          name = "source";
          path = root;
          filter = keeps;
        };
      in
      {
        outPath = source;
        name = "source";
      };
  };
in
import ./modules.nix
// lists
// attrsets
// strings
// customisation
// fixedPoints
// {
  inherit fileset strings;
  inherit (builtins) fromJSON toJSON isFunction functionArgs isBool isInt isPath;
  id = value: value;
  importJSON = path: builtins.fromJSON (readFile path);
  importTOML = path: builtins.fromTOML (readFile path);
  warn = sentence: builtins.trace "warning: ${sentence}";
  warnIf = condition: sentence: value: if condition then builtins.trace "warning: ${sentence}" value else value;
  throwIf = condition: sentence: value: if condition then throw sentence else value;
  throwIfNot = condition: sentence: value: if condition then value else throw sentence;
  versions = {
    major = version: head (splitVersion version);
    majorMinor = version: concatStringsSep "." (map (builtins.elemAt (splitVersion version)) [ 0 1 ]);
  };
  fetchers.proxyImpureEnvVars = [
    "http_proxy"
    "https_proxy"
    "ftp_proxy"
    "all_proxy"
    "no_proxy"
    "HTTP_PROXY"
    "HTTPS_PROXY"
    "FTP_PROXY"
    "ALL_PROXY"
    "NO_PROXY"
  ];
  licenses = {
    mit = {
      spdxId = "MIT";
      free = true;
    };
    unfree.free = false;
  };
  sourceTypes = {
    fromSource.isSource = true;
    binaryNativeCode.isSource = false;
    binaryBytecode.isSource = false;
  };
  platforms = rec {
    linux = [ "x86_64-linux" "aarch64-linux" ];
    darwin = [ "x86_64-darwin" "aarch64-darwin" ];
    unix = linux ++ darwin;
  };
}
