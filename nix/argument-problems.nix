/**
  What is wrong with the arguments of `mkOpencode`: one sentence for each, with the value and what to write instead.

  # Type

  ```
  argumentProblems :: { lib } -> attrs -> [ string ]
  ```

  # Example

  ```nix
  argumentProblems { inherit lib; } (arguments // { warmup = "models"; })
  => [ "warmup: is a string; …" ]
  ```
*/
{ lib }:
arguments@{ opencode, lock, ... }:
let
  repository = import ./repository.nix;
  isText = value: builtins.isString value;
  isPackage = value: lib.isDerivation value;
  # Of a value that is wrong, never more than its kind: it may be a whole package set.
  kind = value: if isPackage value then "a package" else "a ${builtins.typeOf value}";
  unless = right: sentence: lib.optional (!right) sentence;
  flag = name: unless (builtins.isBool arguments.${name}) "${name}: is ${kind arguments.${name}}; write true or false";

  isUrl = value: isText value && builtins.match "https?://[^[:space:]]+" value != null;
  isPlace = value: isUrl value || (builtins.isList value && value != [ ] && lib.all isUrl value);
  example = "\"https://npm.example.com\"";

  version = opencode.version or null;
  hasVersion = isPackage opencode && isText version;
  command = "nix run ${repository}#lock -- ${
    lib.optionalString hasVersion "--opencode-version ${version} "
  }-o opencode-cache.lock.json";
  lockSentence = import ./lock-problem.nix { inherit lib; } {
    inherit lock command;
    version = if hasVersion then version else null;
  };
  # Only of a lock that is one.
  locked = lib.importJSON lock;
  wantsCatalogue = lock != null && lockSentence == null && locked.catalogue or null != null;
in
unless (isPackage opencode) "opencode: is ${kind opencode}; give a package, as pkgs.opencode"
++ lib.optionals (isPackage opencode) (
  unless (isText version) "opencode: the package ${opencode.name or "without a name"} has no `version`; give it the one that its program says: opencode.overrideAttrs { version = \"1.18.33\"; }"
  ++ unless (
    !opencode ? cache
  ) "opencode: the package ${opencode.name or "without a name"} has a cache already; give the OpenCode inside: opencode.opencode"
)
++ lib.optional (lock != null && lockSentence != null) "lock: ${lockSentence}"
++ unless (
  arguments.warmup == null || (builtins.isList arguments.warmup && lib.all isText arguments.warmup)
) "warmup: is ${kind arguments.warmup}${
  lib.optionalString (builtins.isList arguments.warmup) " with something in it that is no string"
}; write a list of OpenCode's arguments, one string for each start: [ \"models\" ]"
++ unless (
  builtins.isList arguments.extraPackages && lib.all isPackage arguments.extraPackages
) "extraPackages: is ${kind arguments.extraPackages}${
  lib.optionalString (builtins.isList arguments.extraPackages) " with something in it that is no package"
}; write a list of packages: [ pkgs.gopls ]"
++ unless (
  arguments.models == null
  || builtins.isPath arguments.models
  || arguments.models ? outPath
  || (isText arguments.models && lib.hasPrefix "/" arguments.models)
) "models: is ${kind arguments.models}; give sources of models.dev (opencode-cache.inputs.models-dev), the path of an api.json, or null"
++ lib.optional (
  wantsCatalogue && arguments.models == null
) "models: is null, and the lock ${baseNameOf (toString lock)} was made for the catalogue with the sha256 ${locked.catalogue}; give that as `models`"
++ lib.optional (
  lock != null
  && lockSentence == null
  && arguments.models == null
  && locked.opencode.layout == (lib.importJSON ./rules.json).experimental.layout
) "models: is null, and OpenCode 2 has no catalogue in it; give opencode-cache.inputs.models-dev or the path of an api.json"
++ unless (
  arguments.mirror == null || isUrl arguments.mirror
) "mirror: ${
  if isText arguments.mirror then builtins.toJSON arguments.mirror else "is ${kind arguments.mirror} and"
} is not the address of a registry; write ${example}"
++ (
  if !builtins.isAttrs arguments.registries then
    [ "registries: is ${kind arguments.registries}; write { default = ${example}; \"@scope\" = …; }" ]
  else
    lib.concatLists (
      lib.mapAttrsToList (
        name: value:
        unless (
          name == "default" || lib.hasPrefix "@" name
        ) "registries: \"${name}\" is neither `default` nor a scope; write \"@${name}\" = …, if that is one"
        ++ unless (isPlace value) "registries: \"${name}\": ${
          if isText value then builtins.toJSON value else "is ${kind value} and"
        } is not the address of a registry, nor a list of them; write ${example}"
      ) arguments.registries
    )
)
++ unless (
  lib.elem arguments.onUnsupported [
    "bare"
    "throw"
  ]
) "onUnsupported: ${
  if isText arguments.onUnsupported then builtins.toJSON arguments.onUnsupported else "is ${kind arguments.onUnsupported} and"
} is neither; write \"bare\" (OpenCode without a cache, and a warning) or \"throw\""
++ flag "withTui"
++ flag "withNpm"
++ flag "offline"
