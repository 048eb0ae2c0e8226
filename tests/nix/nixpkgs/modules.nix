# The part of nixpkgs' module system (lib/modules.nix, lib/options.nix, lib/types.nix) that this project's modules
# use: same names, same meanings, and for a wrong value the same sentence. No submodules, no freeform options.
let
  inherit (builtins)
    all
    any
    attrNames
    concatLists
    concatMap
    concatStringsSep
    elem
    filter
    foldl'
    head
    isAttrs
    isBool
    isFloat
    isFunction
    isInt
    isList
    isString
    length
    listToAttrs
    mapAttrs
    ;

  isType = name: value: isAttrs value && value._type or null == name;
  showOption = concatStringsSep ".";
  unique = foldl' (known: value: if elem value known then known else known ++ [ value ]) [ ];
  values = map (definition: definition.value);

  # --- Properties of definitions ---

  mkIf = condition: content: {
    _type = "if";
    inherit condition content;
  };
  mkMerge = contents: {
    _type = "merge";
    inherit contents;
  };
  mkOverride = priority: content: {
    _type = "override";
    inherit priority content;
  };
  defaultPriority = 100;

  # A module's or attribute set's definitions -> plain sets of definitions, the conditions on what is in them.
  pushDown =
    value:
    if isType "merge" value then
      concatMap pushDown value.contents
    else if isType "if" value then
      map (mapAttrs (_: mkIf value.condition)) (pushDown value.content)
    else if isType "override" value then
      map (mapAttrs (_: mkOverride value.priority)) (pushDown value.content)
    else
      [ value ];

  # One definition of an option -> [ { value; priority; file; } ].
  discharge =
    definition:
    let
      go =
        priority: value:
        if isType "merge" value then
          concatMap (go priority) value.contents
        else if isType "if" value then
          if value.condition then go priority value.content else [ ]
        else if isType "override" value then
          go value.priority value.content
        else
          [ (definition // { inherit priority value; }) ];
    in
    go defaultPriority definition.value;

  strongest =
    definitions:
    let
      best = foldl' (a: b: if b.priority < a then b.priority else a) 9999 definitions;
    in
    filter (definition: definition.priority == best) definitions;

  # --- Modules ---

  load =
    arguments: module:
    let
      imported = if isFunction module || isAttrs module then module else import module;
      called = if isFunction imported then imported arguments else imported;
      file = called._file or (if isFunction module || isAttrs module then "<unknown-file>" else toString module);
      structured = called ? config || called ? options;
      loaded = {
        inherit file;
        key = called.key or (if isFunction module || isAttrs module then null else toString module);
        options = called.options or { };
        config =
          if structured then
            called.config or { }
          else
            removeAttrs called [
              "_file"
              "imports"
              "key"
            ];
      };
    in
    [ loaded ] ++ concatMap (load arguments) (called.imports or [ ]);

  # A module with a key that is there already is left out.
  once = foldl' (
    known: module:
    if module.key != null && any (other: other.key == module.key) known then known else known ++ [ module ]
  ) [ ];

  # Definitions of one level, each { file, value }, against its options.
  level =
    where: options: definitions:
    let
      pushed = concatMap (
        definition: map (value: definition // { inherit value; }) (pushDown definition.value)
      ) definitions;
      named =
        name:
        concatMap (
          definition:
          if definition.value ? ${name} then [ (definition // { value = definition.value.${name}; }) ] else [ ]
        ) pushed;
      unknown = filter (name: !options ? ${name}) (unique (concatMap (d: attrNames d.value) pushed));
    in
    if unknown != [ ] then
      throw "The option `${showOption (where ++ [ (head unknown) ])}' does not exist."
    else
      mapAttrs (
        name: option:
        if isType "option" option then
          evalOption (where ++ [ name ]) option (named name)
        else
          level (where ++ [ name ]) option (named name)
      ) options;

  evalOption =
    where: option: raw:
    let
      name = showOption where;
      given = concatMap discharge raw;
      fallback =
        if option ? default then
          [
            {
              file = "the default";
              priority = 1500;
              value = option.default;
            }
          ]
        else
          [ ];
      definitions = strongest (given ++ fallback);
      wrong = filter (definition: !option.type.check definition.value) definitions;
      merged =
        if definitions == [ ] then
          throw "The option `${name}' was accessed but has no value defined. Try setting the option."
        else if option.readOnly or false && given != [ ] then
          throw "The option `${name}' is read-only, but it's set multiple times."
        else if wrong != [ ] then
          throw "A definition for option `${name}' is not of type `${option.type.description}'. Definition values: In `${(head wrong).file}'"
        else
          option.type.merge where definitions;
    in
    (option.apply or (value: value)) merged;

  mergeOptions =
    foldl' (
      left: right:
      left
      // mapAttrs (
        name: value:
        if left ? ${name} && !isType "option" value then
          mergeOptions [
            left.${name}
            value
          ]
        else if left ? ${name} then
          throw "The option `${name}' is already declared."
        else
          value
      ) right
    ) { };

  evalModules =
    {
      modules,
      specialArgs ? { },
      class ? null,
    }:
    let
      arguments = specialArgs // {
        lib = specialArgs.lib;
        inherit config options;
      };
      loaded = once (concatMap (load arguments) modules);
      options = mergeOptions (map (module: module.options) loaded);
      config = level [ ] options (
        map (module: {
          inherit (module) file;
          value = module.config;
        }) loaded
      );
    in
    {
      inherit config options;
    };

  # --- Options and types ---

  mkOption = attributes: attributes // { _type = "option"; };
  mkEnableOption =
    name:
    mkOption {
      default = false;
      example = true;
      description = "Whether to enable ${name}.";
      type = types.bool;
    };
  mkPackageOption =
    pkgs: name:
    {
      nullable ? false,
      example ? null,
      extraDescription ? "",
    }:
    mkOption (
      {
        type = if nullable then types.nullOr types.package else types.package;
        default = pkgs.${name};
        defaultText = literalExpression "pkgs.${name}";
        description = "The ${name} package to use. ${extraDescription}";
      }
      // (if example == null then { } else { example = literalExpression example; })
    );
  literalExpression = text: {
    _type = "literalExpression";
    inherit text;
  };

  mkOptionType =
    {
      name,
      description ? name,
      descriptionClass ? null,
      check ? (_: true),
      merge ? mergeEqualOption,
    }@attributes:
    attributes
    // {
      _type = "option-type";
      inherit description check merge;
    };

  conflicting =
    where: definitions:
    throw "The option `${showOption where}' has conflicting definition values: ${
      concatStringsSep ", " (map (definition: "In `${definition.file}'") definitions)
    }";
  mergeEqualOption =
    where: definitions:
    if length (unique (values definitions)) == 1 then
      (head definitions).value
    else
      conflicting where definitions;
  mergeOneOption =
    where: definitions:
    if length definitions == 1 then (head definitions).value else conflicting where definitions;

  # Elements with mkIf, mkMerge and mkDefault in them.
  mergeElement =
    type: where: definitions:
    let
      kept = strongest (concatMap discharge definitions);
    in
    if all (definition: type.check definition.value) kept then
      type.merge where kept
    else
      throw "A definition for option `${showOption where}' is not of type `${type.description}'.";

  simple =
    name: description: check:
    mkOptionType { inherit name description check; };
  isStringLike = value: isString value || value ? outPath || value ? __toString;

  types = rec {
    bool = simple "bool" "boolean" isBool;
    str = simple "str" "string" isString;
    port = simple "port" "16 bit unsigned integer; between 0 and 65535 (both inclusive)" (
      value: isInt value && value >= 0 && value <= 65535
    );
    ints.positive = simple "positiveInt" "positive integer, meaning >0" (value: isInt value && value > 0);
    strMatching =
      pattern:
      simple "strMatching" "string matching the pattern ${pattern}" (
        value: isString value && builtins.match pattern value != null
      );
    path = simple "path" "absolute path" (
      value: isStringLike value && builtins.substring 0 1 (toString value) == "/"
      || builtins.isPath value
    );
    package = mkOptionType {
      name = "package";
      check = value: value.type or null == "derivation" || (isString value && builtins.hasContext value);
      merge = mergeOneOption;
    };
    lines = mkOptionType {
      name = "lines";
      description = "strings concatenated with \"\\n\"";
      check = isString;
      merge = _: definitions: concatStringsSep "\n" (values definitions);
    };
    raw = mkOptionType {
      name = "raw";
      description = "raw value";
      merge = mergeOneOption;
    };
    enum = allowed: simple "enum" "one of ${builtins.toJSON allowed}" (value: elem value allowed);
    addCheck = type: check: type // { check = value: type.check value && check value; };
    nullOr =
      type:
      mkOptionType {
        name = "nullOr";
        description = "null or ${type.description}";
        check = value: value == null || type.check value;
        merge =
          where: definitions:
          if all (value: value == null) (values definitions) then
            null
          else
            mergeElement type where definitions;
      };
    listOf =
      type:
      mkOptionType {
        name = "listOf";
        description = "list of ${type.description}";
        check = isList;
        merge =
          where: definitions:
          concatLists (
            map (
              definition:
              concatMap (
                value:
                let
                  kept = discharge (definition // { inherit value; });
                in
                if kept == [ ] then [ ] else [ (mergeElement type where kept) ]
              ) definition.value
            ) definitions
          );
      };
    attrsOf =
      type:
      mkOptionType {
        name = "attrsOf";
        description = "attribute set of ${type.description}";
        check = isAttrs;
        merge =
          where: definitions:
          let
            pushed = concatMap (
              definition: map (value: definition // { inherit value; }) (pushDown definition.value)
            ) definitions;
            named =
              name:
              concatMap discharge (
                concatMap (
                  definition:
                  if definition.value ? ${name} then [ (definition // { value = definition.value.${name}; }) ] else [ ]
                ) pushed
              );
            names = filter (name: named name != [ ]) (
              unique (concatMap (definition: attrNames definition.value) pushed)
            );
          in
          listToAttrs (
            map (name: {
              inherit name;
              value = mergeElement type (where ++ [ name ]) (strongest (named name));
            }) names
          );
      };
    # pkgs.formats.json's type.
    json = mkOptionType {
      name = "json";
      description = "JSON value";
      check =
        value:
        value == null
        || isBool value
        || isInt value
        || isFloat value
        || builtins.isPath value
        || isStringLike value
        || isList value
        || isAttrs value;
      merge =
        where: definitions:
        let
          all' = check: all check (values definitions);
        in
        if all' (value: isAttrs value && !isStringLike value) then
          (attrsOf json).merge where definitions
        else if all' isList then
          (listOf json).merge where definitions
        else
          mergeEqualOption where definitions;
    };
    anything = json // {
      name = "anything";
      description = "anything";
      check = _: true;
    };
  };
in
{
  inherit
    evalModules
    literalExpression
    mergeEqualOption
    mkEnableOption
    mkIf
    mkMerge
    mkOption
    mkOptionType
    mkOverride
    mkPackageOption
    types
    ;
  mkDefault = mkOverride 1000;
  mkForce = mkOverride 50;
}
